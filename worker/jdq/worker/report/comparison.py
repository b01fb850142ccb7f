"""Every head and fine-tune of a dataset as rows of one table, and which of them are comparable."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from jdq.store.errors import StoreError
from jdq.worker.report.comparison_row import METRICS, ComparisonRow, rows_of
from jdq.worker.report.setting import TestSetting, difference

if TYPE_CHECKING:
    from jdq.store.store import Store
    from jdq.worker.report.paired import Paired, Tested

BASELINE = "baseline"
# In the names of folders, which keep an earlier word for them.
BASELINES_FOLDER = "floor"
CHANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The rows: comparable ones first, each group by macro-F1, the best first.

    baselines: the most frequent class and TF-IDF of the texts on the reference's test rows, if a job has measured them.
    """

    dataset: str
    reference: TestSetting
    rows: list[ComparisonRow]
    unreadable: list[str]
    baselines: list[ComparisonRow] = field(default_factory=list)

    @property
    def lines(self) -> list[ComparisonRow]:
        """All rows, baselines among the comparable ones."""
        fit = [row for row in self.rows if row.comparable] + self.baselines
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
    rows, unreadable = rows_of(store, dataset)
    if not rows:
        raise NothingToCompare(
            f"no head and no fine-tune of dataset {dataset} is in the store\n  try: jdq submit train-head {dataset}"
        )
    reference = _reference(
        rows,
        newest.version,
        label_column or newest.label_column,
        strict=label_column is not None,
        has_baselines=lambda setting: bool(_baselines(store, dataset, setting)),
    )
    marked = [replace(row, why=_why(row, reference)) for row in rows]
    marked.sort(key=lambda row: (not row.comparable, *_by_score(row)))
    baselines = _baselines(store, dataset, reference)
    others = _tested_against_best(store, dataset, reference, [row for row in marked if row.comparable] + baselines)
    marked = [replace(row, against_best=others.get((row.id, row.name))) for row in marked]
    baselines = [replace(row, against_best=others.get((row.id, row.name))) for row in baselines]
    return Comparison(dataset=dataset, reference=reference, rows=marked, unreadable=unreadable, baselines=baselines)


def best_of(store: Store, wanted: str) -> str:
    """The job if it made a head or model; for a dataset its best comparable. Raises StoreError, NothingToCompare."""
    from jdq.store.trained import Heads, Models  # imports numpy, which the client's help does not need

    if Heads(store.root).has(wanted) or Models(store.root).has(wanted):
        return wanted
    return compare_dataset(store, wanted).rows[0].id


def pick(store: Store, simpler: str, other: str) -> tuple[str, Paired | None]:
    """The other job's head or model if the paired test on their test rows says that it is better, else the simpler one.

    Also by how much the other differs; None if they were not measured on the same rows.
    """
    from jdq.store.job_files import JobFiles
    from jdq.worker.report.paired import TESTED, paired

    files = JobFiles(store.root)
    test = paired(files.get_array(simpler, TESTED), files.get_array(other, TESTED))
    better = test is not None and test.difference > 0 and test.p_value < CHANCE
    return (other if better else simpler), test


def _by_score(row: ComparisonRow) -> tuple[float, str]:
    return -(row.metrics["macro_f1"] or 0.0), row.id


def _why(row: ComparisonRow, reference: TestSetting) -> str:
    """How the row's test setting differs from the reference, or why its test rows are not safe; empty if neither."""
    if row.learnt_rows and replace(row.setting, split=reference.split) == reference:
        return f"{row.learnt_rows} test rows left out, which its encoder has learnt from"
    why = difference(row.setting, reference)
    if row.learnt_rows is None and not why:
        return "its encoder may have learnt from test rows"
    return why


def baselines_id(dataset: str, setting: TestSetting) -> str:
    """The id under which the store keeps the baselines on these test rows, like the files of a job."""
    named = msgspec.json.encode([dataset, setting])
    return f"{BASELINES_FOLDER}-{hashlib.blake2b(named, digest_size=8).hexdigest()}"


def _baselines(store: Store, dataset: str, reference: TestSetting) -> list[ComparisonRow]:
    from jdq.store.job_files import JobFiles, NoResult

    try:
        measured = JobFiles(store.root).get_result(baselines_id(dataset, reference))
    except NoResult:
        return []
    return [
        ComparisonRow(
            id=BASELINE,
            name=line["name"],
            encoder="",
            setting=reference,
            why="",
            metrics={name: line["metrics"].get(name) for name in METRICS},
            intervals={name: tuple(line["intervals"][name]) for name in METRICS if name in line["intervals"]},
            trained_rows=line["trained_rows"],
            test_rows=measured["test_rows"],
            seed=0,
            wall_time_s=line["wall_time_s"],
            device="cpu",
            device_s=0.0,
            computed=0,
            tokens=0,
            reused=0,
            created_at="",
        )
        for line in measured["lines"]
    ]


def _tested_against_best(
    store: Store, dataset: str, reference: TestSetting, rows: list[ComparisonRow]
) -> dict[tuple[str, str], Paired]:
    """The paired test of each of these rows against the best of them, by id and name."""
    from jdq.store.job_files import JobFiles, NoResult
    from jdq.worker.report.paired import TESTED, paired  # imports numpy, which the client's help does not need

    files = JobFiles(store.root)
    best: Tested | None = None
    tests: dict[tuple[str, str], Paired] = {}
    for row in sorted(rows, key=_by_score):
        job, name = (baselines_id(dataset, reference), row.name) if row.id == BASELINE else (row.id, TESTED)
        try:
            tested = files.get_array(job, name)
        except NoResult:
            if best is None:
                return {}
            continue
        if best is None:
            best = tested
        elif test := paired(best, tested):
            tests[row.id, row.name] = test
    return tests


def _reference(
    rows: Sequence[ComparisonRow],
    version: str,
    column: str | None,
    *,
    strict: bool,
    has_baselines: Callable[[TestSetting], bool],
) -> TestSetting:
    """The test setting of most rows, among those nearest to the requested one, if possible without rows left out.

    One with baselines has priority, because earlier versions of jdq, which had none, drew another split.
    """
    near = [row for row in rows if row.setting.dataset_version == version] or list(rows)
    of_column = [row for row in near if row.setting.label_column == column]
    if strict and not of_column:
        raise NothingToCompare(f"nothing was trained on the label column {column!r} of version {version}")
    nearest = of_column or near
    counts = Counter(row.setting for row in [row for row in nearest if row.learnt_rows == 0] or nearest)
    return max(counts, key=lambda setting: (has_baselines(setting), counts[setting], setting.dataset_version))
