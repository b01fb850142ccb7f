"""What made a fine-tuned model: jdq.json beside the weights."""

from typing import Any

import msgspec

from jdq.worker.finetune.options import FineTuneOptions

RECORD = "jdq.json"
RECORDED_PACKAGES = ("jdq", "torch", "transformers", "tokenizers", "accelerate", "scikit-learn", "numpy")


class DataOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the texts and the labels come from."""

    dataset: str = ""
    dataset_version: str = ""
    label_column: str = ""


class FineTuneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What made a fine-tuned model, and how good it is; comparable with `jdq.worker.heads.record.HeadRecord`.

    history: one entry per epoch. step_losses: (step, mean training loss since the last entry). resumed: how often the
    training resumed from a checkpoint. n_truncated: texts longer than max_length.
    training_time_s: of all processes that trained it.
    """

    options: FineTuneOptions
    classes: tuple[str, ...]
    multi_label: bool
    origin: DataOrigin
    split_digest: str
    rows: dict[str, int]
    max_length: int
    n_truncated: int = msgspec.field(name="n_cut")
    base_weights: str
    base_tokenizer: str
    device: str
    precision: str
    best_step: int
    steps: int
    resumed: int
    training_time_s: float
    wall_time_s: float
    created_at: str
    versions: dict[str, str]
    metrics: dict[str, Any]
    validation_metrics: dict[str, Any] | None = None
    intervals: dict[str, tuple[float, float]] = {}
    history: list[dict[str, float]] = []
    step_losses: list[tuple[int, float]] = []
    warnings: tuple[str, ...] = ()
    format: str = "jdq-fine-tune"
    format_version: int = 1
