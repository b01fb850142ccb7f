"""Every head and fine-tune of a dataset as rows of one table, and which of them are comparable."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from jdq.store.errors import StoreError
from jdq.worker.heads.split_options import SplitOptions

if TYPE_CHECKING:
    from jdq.store.store import Store
    from jdq.worker.report.paired import Paired, Tested

# What is compared, and its heading.
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
FLOOR = "floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSetting:
    """What a classifier was measured on: only rows of one test setting are comparable."""

    dataset_version: str
    label_column: str
    split: str
    multi_label: bool = False
    rule: str = ""  # what decided the split, in words; empty for the default


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One head or fine-tune.

    name: the kind of head, "fine-tune", "majority" or "tf-idf". details: what tells it from others of its kind.
    pooling, precision: of the encoder's forward pass. few_shot: texts per class, where it was trained on so few.
    learnt_rows: test rows left out because the encoder has learnt from them; None where that is not known.
    encoder_device_s: of the fine-tunes that made the encoder; None where it is as it was published.
    against_best: the paired test against the best comparable line; None where one of them was not kept row by row.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The rows: comparable ones first, each group by macro-F1, the best first.

    floor: the most frequent class and TF-IDF of the words on the reference's test rows, where a job has measured them.
    """

    dataset: str
    reference: TestSetting
    rows: list[ComparisonRow]
    unreadable: list[str]
    floor: list[ComparisonRow] = field(default_factory=list)

    @property
    def lines(self) -> list[ComparisonRow]:
        """All rows, those of the floor among the comparable ones."""
        fit = [row for row in self.rows if row.comparable] + self.floor
        return [*sorted(fit, key=_by_score), *(row for row in self.rows if not row.comparable)]


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
    reference = _reference(
        rows,
        newest.version,
        label_column or newest.label_column,
        strict=label_column is not None,
        has_floor=lambda setting: bool(_floor(store, dataset, setting)),
    )
    marked = [replace(row, why=_why(row, reference)) for row in rows]
    marked.sort(key=lambda row: (not row.comparable, *_by_score(row)))
    floor = _floor(store, dataset, reference)
    others = _tested_against_best(store, dataset, reference, [row for row in marked if row.comparable] + floor)
    marked = [replace(row, against_best=others.get((row.id, row.name))) for row in marked]
    floor = [replace(row, against_best=others.get((row.id, row.name))) for row in floor]
    return Comparison(dataset=dataset, reference=reference, rows=marked, unreadable=unreadable, floor=floor)


def _by_score(row: ComparisonRow) -> tuple[float, str]:
    return -(row.metrics["macro_f1"] or 0.0), row.id


def _why(row: ComparisonRow, reference: TestSetting) -> str:
    """How the row's test setting differs from the reference, or why its test rows are not safe; empty where neither."""
    why = difference(row.setting, reference)
    if row.learnt_rows:
        return f"{row.learnt_rows} test rows left out, which its encoder has learnt from" if why[:5] == "split" else why
    if row.learnt_rows is None and not why:
        return "its encoder may have learnt from test rows"
    return why


def floor_id(dataset: str, setting: TestSetting) -> str:
    """Under which id the files of jobs have what needs no encoder on these test rows."""
    named = msgspec.json.encode([dataset, setting])
    return f"{FLOOR}-{hashlib.blake2b(named, digest_size=8).hexdigest()}"


def _floor(store: Store, dataset: str, reference: TestSetting) -> list[ComparisonRow]:
    from jdq.store.job_files import JobFiles, NoResult

    try:
        found = JobFiles(store.root).get_result(floor_id(dataset, reference))
    except NoResult:
        return []
    return [
        ComparisonRow(
            id=FLOOR,
            name=line["name"],
            encoder="",
            setting=reference,
            why="",
            metrics={name: line["metrics"].get(name) for name in METRICS},
            intervals={name: tuple(line["intervals"][name]) for name in METRICS if name in line["intervals"]},
            trained_rows=line["trained_rows"],
            test_rows=found["test_rows"],
            seed=0,
            wall_time_s=line["wall_time_s"],
            device="cpu",
            device_s=0.0,
            computed=0,
            reused=0,
            created_at="",
        )
        for line in found["lines"]
    ]


def _tested_against_best(
    store: Store, dataset: str, reference: TestSetting, rows: list[ComparisonRow]
) -> dict[tuple[str, str], Paired]:
    """The paired test of each of these rows against the best of them, by id and name."""
    from jdq.store.job_files import JobFiles, NoResult
    from jdq.worker.report.paired import TESTED, paired  # numpy, which no help needs

    files = JobFiles(store.root)
    best: Tested | None = None
    found: dict[tuple[str, str], Paired] = {}
    for row in sorted(rows, key=_by_score):
        job, name = (floor_id(dataset, reference), row.name) if row.id == FLOOR else (row.id, TESTED)
        try:
            tested = files.get_array(job, name)
        except NoResult:
            if best is None:
                return {}
            continue
        if best is None:
            best = tested
        elif test := paired(best, tested):
            found[row.id, row.name] = test
    return found


def difference(setting: TestSetting, reference: TestSetting) -> str:
    """How the two differ, in words; empty where they are equal."""
    if setting.dataset_version != reference.dataset_version:
        return f"dataset version {setting.dataset_version}"
    if setting.label_column != reference.label_column:
        return f"label column {setting.label_column!r}"
    if setting.rule != reference.rule:
        return setting.rule or "the default split"
    if setting.split != reference.split:
        return f"split {setting.split[:8]}"
    if setting.multi_label != reference.multi_label:
        return "label sets" if setting.multi_label else "single labels"
    return ""


def _reference(
    rows: Sequence[ComparisonRow],
    version: str,
    column: str | None,
    *,
    strict: bool,
    has_floor: Callable[[TestSetting], bool],
) -> TestSetting:
    """The test setting of most rows, among those nearest to the requested one, if possible without rows left out.

    One with a floor has priority: the split of earlier versions of jdq, which had none, is not drawn any more.
    """
    near = [row for row in rows if row.setting.dataset_version == version] or list(rows)
    of_column = [row for row in near if row.setting.label_column == column]
    if strict and not of_column:
        raise NothingToCompare(f"nothing was trained on the label column {column!r} of version {version}")
    nearest = of_column or near
    counts = Counter(row.setting for row in [row for row in nearest if row.learnt_rows == 0] or nearest)
    return max(counts, key=lambda setting: (has_floor(setting), counts[setting], setting.dataset_version))


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
                rows.append(replace(_row(job, record, cost), encoder_device_s=_encoder_cost(store, encoder_of(record))))
    return rows, unreadable


def test_setting_of(record: dict[str, Any]) -> TestSetting:
    """What a head or a model, by its record, was measured on."""
    origin = record["origin"]
    return TestSetting(
        dataset_version=origin["dataset_version"],
        label_column=origin["label_column"],
        split=record["split_digest"],
        multi_label=bool(record.get("multi_label")),
        rule=rule_of(origin.get("split", {})),
    )


def rule_of(split: dict[str, Any]) -> str:
    """What decided the split of a record, in words."""
    return msgspec.convert(split, SplitOptions).name


def details_of(record: dict[str, Any]) -> tuple[str, ...]:
    """What tells a head from others of its kind: parameters, few-shot, class weights, calibrated, multi-label."""
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
    params = (f"{name}={value}" for name, value in (record.get("params") or {}).items())
    return (*params, *(words for words, is_so in named.items() if is_so))


def encoder_of(record: dict[str, Any]) -> str:
    """The encoder that a head's features are of, or that a fine-tune started from, as the user named it."""
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
        reused=cost.get("reused"),
        created_at=record["created_at"],
        pooling=origin.get("pooling", ""),
        precision=origin.get("precision") or record.get("precision", ""),
        calibrated=bool(record.get("calibration")),
        few_shot=record.get("per_class"),
        learnt_rows=origin.get("learnt_rows", 0),
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
