"""Every head and fine-tune of a dataset as lines of one table, and which of them may be set beside each other."""

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
    """What was measured on: only lines of one ground are comparable."""

    dataset_version: str
    label_column: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One head or fine-tune.

    name: the kind of head, or "fine-tune". why: in what it differs from the reference; empty where comparable.
    wall_time_s: of its training, of a search with all trials. device_s: of the network: the extraction's for a head,
    the training's for a fine-tune.
    computed, reused: texts that the network saw for it, and texts whose features the store had; None where forgotten.
    """

    id: str
    name: str
    encoder: str
    ground: TestSetting
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
    """The lines: comparable ones first, each group by macro-F1, the best first."""

    dataset: str
    reference: TestSetting
    lines: list[ComparisonRow]
    unreadable: list[str]


class NothingToCompare(StoreError):
    """No head and no fine-tune of the dataset is in the store."""


def compare_dataset(
    store: Store, dataset: str, *, version: str | None = None, label_column: str | None = None
) -> Comparison:
    """All lines of the dataset; the reference is its newest version that has some, and that version's label column.

    Raises UnknownDataset, NothingToCompare.
    """
    newest = store.datasets.get(dataset, version)
    lines, unreadable = _lines(store, dataset)
    if not lines:
        raise NothingToCompare(
            f"no head and no fine-tune of dataset {dataset} is in the store\n  try: jdq submit train-head {dataset}"
        )
    reference = _reference(lines, newest.version, label_column or newest.label_column, strict=label_column is not None)
    marked = [replace(line, why=difference(line.ground, reference)) for line in lines]
    marked.sort(key=lambda line: (not line.comparable, -(line.metrics["macro_f1"] or 0.0), line.id))
    return Comparison(dataset=dataset, reference=reference, lines=marked, unreadable=unreadable)


def difference(ground: TestSetting, reference: TestSetting) -> str:
    """In what the two differ, for people; empty where they are one."""
    if ground.dataset_version != reference.dataset_version:
        return f"dataset version {ground.dataset_version}"
    if ground.label_column != reference.label_column:
        return f"label column {ground.label_column!r}"
    return "" if ground.split == reference.split else f"split {ground.split[:8]}"


def _reference(lines: Sequence[ComparisonRow], version: str, column: str | None, *, strict: bool) -> TestSetting:
    """The ground of most lines, among those that are nearest to what was asked for."""
    near = [line for line in lines if line.ground.dataset_version == version] or list(lines)
    of_column = [line for line in near if line.ground.label_column == column]
    if strict and not of_column:
        raise NothingToCompare(f"nothing was trained on the label column {column!r} of version {version}")
    grounds = Counter(line.ground for line in of_column or near)
    return max(grounds, key=lambda ground: (grounds[ground], ground.dataset_version))


def _lines(store: Store, dataset: str) -> tuple[list[ComparisonRow], list[str]]:
    from jdq.store.trained import DamagedRecord, Heads, Models, TrainedStore

    trained_stores: tuple[TrainedStore, ...] = (Heads(store.root), Models(store.root))
    lines, unreadable = [], []
    for trained in trained_stores:
        for job in trained.ids():
            try:
                record = trained.record(job)
            except DamagedRecord as error:
                unreadable.append(str(error))
                continue
            if record["origin"]["dataset"] == dataset:
                cost = _head_cost(store, job) if trained.kind == "head" else _fine_tune_cost(record)
                lines.append(_line(job, record, cost))
    return lines, unreadable


def test_setting_of(record: dict[str, Any]) -> TestSetting:
    """What a head or a model, by its record, was measured on."""
    origin = record["origin"]
    return TestSetting(
        dataset_version=origin["dataset_version"], label_column=origin["label_column"], split=record["split_digest"]
    )


def _line(job: str, record: dict[str, Any], cost: dict[str, Any]) -> ComparisonRow:
    origin, metrics = record["origin"], record["metrics"]
    options = record.get("options", {})
    return ComparisonRow(
        id=job,
        name=record.get("head", "fine-tune"),
        encoder=origin.get("encoder") or options["encoder"],
        ground=test_setting_of(record),
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
    """What the extraction cost from which the head was trained; nothing where it is not known any more."""
    from jdq.store.job_files import NoResult, Runs

    try:
        found: dict[str, Any] = Runs(store.root).get_result(job)["extraction"]
    except (NoResult, KeyError):
        return {}
    return found


def _fine_tune_cost(record: dict[str, Any]) -> dict[str, Any]:
    """A fine-tune reuses nothing: each epoch sends every train text through the network."""
    texts, batch = record["rows"]["train"], record["options"]["batch_size"]
    epochs = record["steps"] / -(-texts // batch)
    return {"device_s": record["training_time_s"], "computed": round(epochs * texts), "reused": 0}
