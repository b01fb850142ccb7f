"""Every head and fine-tune of a dataset as rows of one table, and which of them are comparable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jdq.store.errors import StoreError

if TYPE_CHECKING:
    from jdq.store.store import Store

# What is compared, and its heading.
METRICS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "macro_f1": "macro-F1",
    "roc_auc": "ROC AUC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSetting:
    """What a classifier was measured on: only rows of one test setting are comparable."""

    dataset_version: str
    label_column: str
    split: str
    multi_label: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One head or fine-tune.

    name: the kind of head, or "fine-tune". details: what tells it from others of its kind.
    why: how its test setting differs from the reference; empty where comparable.
    wall_time_s: of its training, for a search including all trials. device_s: of the network: the extraction's for a
    head, the training's for a fine-tune.
    computed, reused: texts that the network processed for it, and texts whose features the store had; None where
    that is no longer known.
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
    reused: int | None
    created_at: str

    @property
    def comparable(self) -> bool:
        """Whether it was measured on the reference's rows."""
        return not self.why


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The rows: comparable ones first, each group by macro-F1, the best first."""

    dataset: str
    reference: TestSetting
    rows: list[ComparisonRow]
    unreadable: list[str]


class NothingToCompare(StoreError):
    """No head and no fine-tune of the dataset is in the store."""


def compare_dataset(
    store: Store, dataset: str, *, version: str | None = None, label_column: str | None = None
) -> Comparison:
    """All rows of the dataset; the reference is its newest version that has some, and that version's label column.

    Raises UnknownDataset, NothingToCompare.
    """
    newest = store.datasets.get(dataset, version)
    rows, unreadable = _rows(store, dataset)
    if not rows:
        raise NothingToCompare(
            f"no head and no fine-tune of dataset {dataset} is in the store\n  try: jdq submit train-head {dataset}"
        )
    reference = _reference(rows, newest.version, label_column or newest.label_column, strict=label_column is not None)
    marked = [replace(row, why=difference(row.setting, reference)) for row in rows]
    marked.sort(key=lambda row: (not row.comparable, -(row.metrics["macro_f1"] or 0.0), row.id))
    return Comparison(dataset=dataset, reference=reference, rows=marked, unreadable=unreadable)


def difference(setting: TestSetting, reference: TestSetting) -> str:
    """How the two differ, in words; empty where they are equal."""
    if setting.dataset_version != reference.dataset_version:
        return f"dataset version {setting.dataset_version}"
    if setting.label_column != reference.label_column:
        return f"label column {setting.label_column!r}"
    if setting.split != reference.split:
        return f"split {setting.split[:8]}"
    if setting.multi_label != reference.multi_label:
        return "label sets" if setting.multi_label else "single labels"
    return ""


def _reference(rows: Sequence[ComparisonRow], version: str, column: str | None, *, strict: bool) -> TestSetting:
    """The test setting of most rows, among those nearest to the requested one."""
    near = [row for row in rows if row.setting.dataset_version == version] or list(rows)
    of_column = [row for row in near if row.setting.label_column == column]
    if strict and not of_column:
        raise NothingToCompare(f"nothing was trained on the label column {column!r} of version {version}")
    counts = Counter(row.setting for row in of_column or near)
    return max(counts, key=lambda setting: (counts[setting], setting.dataset_version))


def _rows(store: Store, dataset: str) -> tuple[list[ComparisonRow], list[str]]:
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
                cost = _head_cost(store, job) if trained.kind == "head" else _fine_tune_cost(record)
                rows.append(_row(job, record, cost))
    return rows, unreadable


def test_setting_of(record: dict[str, Any]) -> TestSetting:
    """What a head or a model, by its record, was measured on."""
    origin = record["origin"]
    return TestSetting(
        dataset_version=origin["dataset_version"],
        label_column=origin["label_column"],
        split=record["split_digest"],
        multi_label=bool(record.get("multi_label")),
    )


def details_of(record: dict[str, Any]) -> tuple[str, ...]:
    """What tells a head from others of its kind: parameters, few-shot, class weights, calibrated, multi-label."""
    few_shot = record.get("per_class")
    named = {
        f"{few_shot} texts per class": few_shot,
        f"class weight {record.get('class_weight')}": record.get("class_weight"),
        "calibrated": record.get("calibration"),
        "multi-label": record.get("multi_label"),
        "best of a search": record.get("search"),
    }
    params = (f"{name}={value}" for name, value in (record.get("params") or {}).items())
    return (*params, *(words for words, is_so in named.items() if is_so))


def _row(job: str, record: dict[str, Any], cost: dict[str, Any]) -> ComparisonRow:
    origin, metrics = record["origin"], record["metrics"]
    options = record.get("options", {})
    return ComparisonRow(
        id=job,
        name=record.get("head", "fine-tune"),
        details=details_of(record),
        encoder=origin.get("encoder") or options["encoder"],
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
        reused=cost.get("reused"),
        created_at=record["created_at"],
    )


def _head_cost(store: Store, job: str) -> dict[str, Any]:
    """What the extraction cost from which the head was trained; nothing where that is no longer known."""
    from jdq.store.job_files import JobFiles, NoResult

    try:
        extraction: dict[str, Any] = JobFiles(store.root).get_result(job)["extraction"]
    except (NoResult, KeyError):
        return {}
    return extraction


def _fine_tune_cost(record: dict[str, Any]) -> dict[str, Any]:
    """A fine-tune reuses nothing: in each epoch the network processes every train text."""
    texts, batch = record["rows"]["train"], record["options"]["batch_size"]
    epochs = record["steps"] / -(-texts // batch)
    return {"device_s": record["training_time_s"], "computed": round(epochs * texts), "reused": 0}
