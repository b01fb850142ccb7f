"""What made a head: everything that is needed to trust its numbers or to reproduce it."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from jdq.worker.heads.certainty import Certainty
from jdq.worker.heads.options import ParameterValue
from jdq.worker.heads.split_options import SplitOptions

RECORDED_PACKAGES = ("jdq", "numpy", "scikit-learn", "torch", "skops", "safetensors")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the features and the labels come from.

    learnt_rows: test rows that were left out because the encoder has learnt from their texts; None if it is not
    known what it has learnt from.
    """

    space: str = ""  # digest of the feature space
    encoder: str = ""  # as the user named it
    pooling: str = ""
    precision: str = ""  # of the encoder's forward pass
    dataset: str = ""
    dataset_version: str = ""
    label_column: str = ""
    split: SplitOptions = SplitOptions()
    learnt_rows: int | None = 0


class HeadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What made a head, and how good it is. As JSON values: `msgspec.to_builtins(record)`.

    rows: rows in the train, validation and test part; `trained_rows` is smaller after few-shot sampling.
    repeats: the metrics on several splits, of which the first is the head's own.
    forecast: what more labels would bring, if that was requested and there are enough rows.
    certainty: if rows were left to choose it.
    thresholds: of label sets, one per class, chosen on the validation part; none is 0.5 for all.
    metrics: of the test part (`metrics_of`); `validation_metrics` of the validation part, if it has rows.
    choice: what was chosen by cross-validation, and why, of heads that do.
    history: one entry per epoch, of heads that are trained in epochs.
    """

    head: str
    params: dict[str, ParameterValue]
    seed: int
    classes: tuple[str, ...]
    dim: int
    origin: Origin
    split_digest: str
    rows: dict[str, int]
    trained_rows: int
    multi_label: bool
    label_separator: str | None = msgspec.field(name="separator")
    class_weight: str | None
    out_of_core: bool
    device: str
    wall_time_s: float
    created_at: str  # UTC, ISO 8601
    versions: dict[str, str]
    metrics: dict[str, Any]
    validation_metrics: dict[str, Any] | None = None
    thresholds: tuple[float, ...] = ()
    certainty: Certainty | None = None
    intervals: dict[str, tuple[float, float]] = {}
    cv: dict[str, Any] | None = None
    repeats: dict[str, Any] | None = None
    forecast: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    per_class: int | None = None
    search: dict[str, Any] | None = None
    choice: dict[str, Any] | None = None
    history: list[dict[str, float]] = []
    warnings: tuple[str, ...] = ()


def installed_versions() -> dict[str, str]:
    """The versions of Python and of each package that can change a head's numbers."""
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
