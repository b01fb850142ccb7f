"""What a report is about: one trained classifier, the rows that it was measured on, and what it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.features import Features
from jdq.worker.heads.split import TEST, Rows, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One row of the comparison. details: what distinguishes it from others of its kind. why: how its test rows or
    labels differ from the subject's, so that its numbers are not comparable. computed, tokens: what the network
    processed for it.
    """

    name: str
    details: tuple[str, ...] = ()
    why: str = ""
    kind: str  # "head" or "fine-tune"
    metrics: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    wall_time_s: float
    device: str
    device_s: float | None = None
    computed: int | None = None
    tokens: int | None = None
    price: float | None = None
    seed: int
    is_subject: bool = False

    @property
    def same_split(self) -> bool:
        """Whether its numbers are comparable with the subject's."""
        return not self.why


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPoint:
    """How good the head is when trained on that many rows."""

    rows: int
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A classifier with its test rows.

    record: `msgspec.to_builtins` of a HeadRecord or a FineTuneRecord. codes: the targets of all rows, (rows,) class
    numbers or (rows, classes) bool. texts: of all rows. probabilities: (test rows, classes), test rows ascending.
    X: the features of all rows, for the map; None leaves it out.
    """

    name: str
    kind: str
    dataset: str
    record: dict[str, Any]
    classes: tuple[str, ...]
    codes: npt.NDArray[Any]
    texts: Sequence[str]
    split: Split
    probabilities: npt.NDArray[Any]
    X: Features | None = None
    compared: Sequence[Compared] = ()
    learning: Sequence[LearningPoint] = ()

    @property
    def multi_label(self) -> bool:
        return self.codes.ndim == 2

    @property
    def test_rows(self) -> Rows:
        return self.split.rows(TEST)

    @property
    def test_codes(self) -> npt.NDArray[Any]:
        return self.codes[self.test_rows]

    @property
    def test_indicator(self) -> npt.NDArray[np.bool_]:
        """(test rows, classes): which classes each test row has."""
        codes = self.test_codes
        return codes.astype(bool) if self.multi_label else codes[:, None] == np.arange(len(self.classes))
