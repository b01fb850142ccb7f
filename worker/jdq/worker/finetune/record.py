"""What made a fine-tuned model: jdq.json beside the weights."""

from typing import Any

import msgspec

from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.heads.certainty import Certainty
from jdq.worker.heads.split_options import SplitOptions

RECORD = "jdq.json"
RECORDED_PACKAGES = ("jdq", "torch", "transformers", "tokenizers", "accelerate", "scikit-learn", "numpy")


class DataOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the texts and labels come from. learnt_rows: as in `heads.record.Origin`."""

    dataset: str = ""
    dataset_version: str = ""
    label_column: str = ""
    split: SplitOptions = SplitOptions()
    learnt_rows: int | None = 0


class FineTuneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What made a fine-tuned model, and how good it is; comparable with `jdq.worker.heads.record.HeadRecord`.

    thresholds: of label sets, one per class, chosen on the validation part; none is 0.5 for all.
    certainty: chosen on the validation part, if that has rows.
    history: one entry per epoch. step_losses: (step, mean training loss since the last entry). resumed: how often the
    training resumed from a checkpoint. n_truncated: texts longer than max_length.
    training_time_s: of all processes that trained it. train_tokens: of the train part, after truncation; None in older
    records.
    """

    options: FineTuneOptions
    classes: tuple[str, ...]
    multi_label: bool
    origin: DataOrigin
    split_digest: str
    rows: dict[str, int]
    max_length: int
    n_truncated: int = msgspec.field(name="n_cut")
    train_tokens: int | None = None
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
    thresholds: tuple[float, ...] = ()
    certainty: Certainty | None = None
    intervals: dict[str, tuple[float, float]] = {}
    history: list[dict[str, float]] = []
    step_losses: list[tuple[int, float]] = []
    warnings: tuple[str, ...] = ()
    format: str = "jdq-fine-tune"
    format_version: int = 1
