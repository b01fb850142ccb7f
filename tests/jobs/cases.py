"""Labelled tables that a head can learn from features of `hash:DIM`, and jobs on them."""

from collections.abc import Sequence
from typing import Any

from jdq.store.datasets import DatasetVersion
from jdq.worker.heads.options import HeadOptions
from jdq.worker.queue.contract import Extract, HeadSearch, TrainHead
from jdq.worker.queue.records import Job
from tests.jobs.conftest import Workplace

ENCODER = "hash:16"


def csv_of(rows: Sequence[tuple[str, ...]], header: str = "text,label") -> str:
    return header + "\n" + "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)


def labelled(n: int, classes: str = "abc") -> list[tuple[str, str]]:
    return [(f"posting number {i}", classes[i % len(classes)]) for i in range(n)]


def extracted(workplace: Workplace, table: str, name: str = "table", **options: Any) -> DatasetVersion:
    """The table, imported and with its features in the store."""
    version = workplace.imported(table, name, **options)
    job = workplace.finished(Extract(dataset=version.name, version=version.version, encoder=ENCODER))
    assert job.state == "succeeded"
    return version


def trained(
    workplace: Workplace,
    version: DatasetVersion,
    *,
    label_column: str | None = None,
    search: HeadSearch | None = None,
    **options: Any,
) -> Job:
    """A head's job, ended."""
    spec = TrainHead(
        dataset=version.name,
        version=version.version,
        options=HeadOptions(**options),
        label_column=label_column,
        search=search,
    )
    return workplace.finished(spec)
