"""What a head learns from and what it returns: the interface between `train` and each head."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.features import Check, Features, Rows
from jdq.worker.heads.labels import Targets
from jdq.worker.heads.options import HeadOptions, ParameterValue
from jdq.worker.heads.predictors import Predictor

Keys = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitContext:
    """The rows to train on, the rows to choose by, and the options. keys: (all rows, 16) text keys."""

    X: Features
    targets: Targets
    train: Rows
    validation: Rows
    options: HeadOptions
    check: Check
    keys: Keys

    @property
    def train_codes(self) -> npt.NDArray[np.int64] | npt.NDArray[np.bool_]:
        return self.targets.codes[self.train]

    def present(self) -> npt.NDArray[np.intp]:
        """The positions of the classes that the train rows have, ascending."""
        return np.flatnonzero(self.targets.counts(self.train) > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossFitted:
    """Calibrated probabilities (rows, classes) of rows by predictors that did not learn from them. codes: (rows,)."""

    keys: Keys
    codes: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A trained predictor and what its record must contain.

    params: all that were set, including jdq's defaults. uncalibrated: it has scores, not probabilities. trained_rows:
    set if it learnt from other rows than the context's train rows. choice: what was chosen by cross-validation, and
    why. calibration: how the predictor was calibrated, if it was. thresholds: for label sets, if they were chosen with
    it. cross_fitted: what it was calibrated by, if not by the validation part.
    """

    predictor: Predictor
    params: dict[str, ParameterValue]
    out_of_core: bool = False
    uncalibrated: bool = False
    trained_rows: Rows | None = None
    choice: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    thresholds: tuple[float, ...] = ()
    cross_fitted: CrossFitted | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    warnings: tuple[str, ...] = ()


def row_keys(rows: int) -> Keys:
    """Keys for rows that all count as different texts."""
    keys = np.zeros((rows, 16), dtype=np.uint8)
    keys[:, :8] = np.arange(rows, dtype=np.uint64).view(np.uint8).reshape(-1, 8)
    return keys
