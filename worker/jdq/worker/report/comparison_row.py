"""A row of a comparison: one head or fine-tune, by its record, and its cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jdq.worker.report.setting import TestSetting, test_setting_of

if TYPE_CHECKING:
    from jdq.store.store import Store
    from jdq.worker.report.paired import Paired

# The compared metrics, with their headings.
METRICS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "macro_f1": "macro-F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "calibration_error": "ECE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One head or fine-tune.

    name: the kind of head, "fine-tune", "majority" or "tf-idf". details: what distinguishes it from others of its kind.
    pooling, precision: of the encoder's forward pass. few_shot: texts per class, after few-shot training.
    learnt_rows: test rows left out because the encoder has learnt from them; None if that is not known.
    encoder_device_s: of the fine-tunes that made the encoder; None if it is as it was published.
    against_best: the paired test against the best comparable line; None if one of them was not kept row by row.
    why: how its test setting differs from the reference; empty if comparable.
    wall_time_s: of its training, for a search including all trials. device_s: of the network: the extraction's for a
    head, the training's for a fine-tune.
    computed, tokens, reused: texts and tokens that the network processed for it, and texts whose features the store
    had; None if that is no longer known.
    """

    id: str
    name: str
    details: tuple[str, ...] = ()
    encoder: str
    setting: TestSetting
    why: str
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    trained_rows: int
    test_rows: int
    seed: int
    wall_time_s: float
    device: str
    device_s: float | None
    computed: int | None
    tokens: int | None = None
    reused: int | None
    created_at: str
    pooling: str = ""
    precision: str = ""
    calibrated: bool = False
    few_shot: int | None = None
    learnt_rows: int | None = 0
    encoder_device_s: float | None = None
    against_best: Paired | None = None

    @property
    def comparable(self) -> bool:
        """Whether it was measured on the reference's rows."""
        return not self.why


def price_of(device_s: float | None, hour_price: float) -> float | None:
    """What the device time costs at this price per hour; None if one of them is not known."""
    return None if device_s is None or not hour_price else device_s / 3600 * hour_price


def rows_of(store: Store, dataset: str) -> tuple[list[ComparisonRow], list[str]]:
    """All heads and fine-tunes of the dataset, and for each damaged record why it cannot be read."""
    from jdq.store.trained import DamagedRecord, Heads, Models, TrainedStore

    trained_stores: tuple[TrainedStore, ...] = (Heads(store.root), Models(store.root))
    rows, unreadable = [], []
    for trained in trained_stores:
        for job in trained.ids():
            try:
                record = trained.record(job)
            except DamagedRecord as error:
                unreadable.append(str(error))
                continue
            if record["origin"]["dataset"] == dataset:
                cost = _head_cost(store, job) if trained.kind == "head" else fine_tune_cost(record)
                rows.append(replace(_row(job, record, cost), encoder_device_s=_encoder_cost(store, encoder_of(record))))
    return rows, unreadable


def details_of(record: dict[str, Any]) -> tuple[str, ...]:
    """What distinguishes a head from others of its kind: what it chose, parameters, few-shot, class weights, ..."""
    few_shot, learnt = record.get("per_class"), record["origin"].get("learnt_rows", 0)
    named = {
        f"{few_shot} texts per class": few_shot,
        f"class weight {record.get('class_weight')}": record.get("class_weight"),
        "calibrated": record.get("calibration"),
        "multi-label": record.get("multi_label"),
        "best of a search": record.get("search"),
        f"{learnt} test rows left out, which its encoder has learnt from": learnt,
        "its encoder may have learnt from test rows": learnt is None,
    }
    kind = (record.get("choice") or {}).get("kind", record.get("head"))
    chosen = () if kind == record.get("head") else (str(kind),)
    params = (f"{name}={value}" for name, value in (record.get("params") or {}).items())
    return (*chosen, *params, *(words for words, is_so in named.items() if is_so))


def encoder_of(record: dict[str, Any]) -> str:
    """The encoder of a head's features, or the one that a fine-tune started from, as the user named it."""
    encoder: str = record["origin"].get("encoder") or record["options"]["encoder"]
    return encoder


def _encoder_cost(store: Store, encoder: str) -> float | None:
    """Device seconds of the fine-tunes that made the encoder; None for one that is none, or is no longer there."""
    from jdq.store.trained import DamagedRecord, Models

    models = Models(store.root)
    if not models.has(encoder):
        return None
    try:
        record = models.record(encoder)
    except DamagedRecord:
        return None
    return float(record["training_time_s"]) + (_encoder_cost(store, record["options"]["encoder"]) or 0.0)


def _row(job: str, record: dict[str, Any], cost: dict[str, Any]) -> ComparisonRow:
    origin, metrics = record["origin"], record["metrics"]
    options = record.get("options", {})
    return ComparisonRow(
        id=job,
        name=record.get("head", "fine-tune"),
        details=details_of(record),
        encoder=encoder_of(record),
        setting=test_setting_of(record),
        why="",
        metrics={name: metrics.get(name) for name in METRICS},
        intervals={name: tuple(record["intervals"][name]) for name in METRICS if name in record["intervals"]},
        trained_rows=record.get("trained_rows", record["rows"]["train"]),
        test_rows=record["rows"]["test"],
        seed=record.get("seed", options.get("seed")),
        wall_time_s=record["wall_time_s"] + (record.get("search") or {}).get("wall_time_s", 0.0),
        device=record["device"],
        device_s=cost.get("device_s"),
        computed=cost.get("computed"),
        tokens=cost.get("tokens"),
        reused=cost.get("reused"),
        created_at=record["created_at"],
        pooling=origin.get("pooling", ""),
        precision=origin.get("precision") or record.get("precision", ""),
        calibrated=bool(record.get("calibration")),
        few_shot=record.get("per_class"),
        learnt_rows=origin.get("learnt_rows", 0),
    )


def _head_cost(store: Store, job: str) -> dict[str, Any]:
    """What the extraction cost from which the head was trained; nothing if that is no longer known."""
    from jdq.store.job_files import JobFiles, NoResult

    try:
        extraction: dict[str, Any] = JobFiles(store.root).get_result(job)["extraction"]
    except (NoResult, KeyError):
        return {}
    return extraction


def fine_tune_cost(record: dict[str, Any]) -> dict[str, Any]:
    """A fine-tune reuses nothing: in each epoch the network processes every train text."""
    texts, batch, tokens = record["rows"]["train"], record["options"]["batch_size"], record.get("train_tokens")
    epochs = record["steps"] / -(-texts // batch)
    return {
        "device_s": record["training_time_s"],
        "computed": round(epochs * texts),
        "tokens": None if tokens is None else round(epochs * tokens),
        "reused": 0,
    }
