"""What is in a store, for people and as JSON."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from jdq.store.datasets import DatasetVersion, RemovedDataset
from jdq.store.datasets.names import is_passing
from jdq.store.errors import StoreError, read_each
from jdq.store.spaces.counts import count_missing, count_rows
from jdq.store.spaces.feature_space import Space
from jdq.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSummary:
    """A feature space: its encoder, and how many rows, shards and bytes it has."""

    space: str
    encoder: str
    dim: int
    rows: int
    shards: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """How many rows of a dataset version a feature space misses; None where the space cannot be read."""

    space: str
    encoder: str
    missing: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """A dataset version: its rows, its labels, and the feature spaces it was extracted in."""

    dataset: str
    version: str
    rows: int
    texts: int
    text_column: str
    label_column: str | None
    classes: dict[str, int]
    file: str
    imported_at: datetime
    extracted: list[Extraction]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSummary:
    """Datasets and feature spaces, and the dataset versions that cannot be read. left_out: how many versions are not
    listed, because they were imported only for predictions."""

    root: str
    datasets: list[DatasetSummary]
    spaces: list[SpaceSummary]
    damaged: list[str]
    left_out: int = 0


def list_store(store: Store, *, everything: bool = True) -> StoreSummary:
    """What is in the store now; without `everything`, tables that were imported only for predictions are counted."""
    versions, damaged = store.datasets.open_all()
    opened, damaged_spaces = store.open_spaces()
    listed = [version for version in versions.values() if everything or not is_passing(version.name)]
    datasets, bad_datasets = read_each(listed, partial(summarize_dataset, store), gone=(RemovedDataset,))
    spaces, bad_spaces = read_each(opened.values(), partial(summarize_space, store))
    faults = damaged | damaged_spaces | bad_datasets | bad_spaces
    return StoreSummary(
        root=str(store.root),
        datasets=list(datasets.values()),
        spaces=list(spaces.values()),
        damaged=[str(error) for error in faults.values()],
        left_out=len(versions) - len(listed),
    )


def summarize_dataset(store: Store, version: DatasetVersion) -> DatasetSummary:
    """One version, with the number of its rows that each of its feature spaces misses."""
    source = version.source
    return DatasetSummary(
        dataset=version.name,
        version=version.version,
        rows=version.n_rows,
        texts=version.n_texts,
        text_column=version.text_column,
        label_column=version.label_column,
        classes=version.classes,
        file=source.file,
        imported_at=source.imported_at,
        extracted=[
            Extraction(space=record.space, encoder=record.encoder, missing=_missing(store, record.space, version))
            for record in version.spaces()
        ],
    )


def summarize_space(store: Store, space: Space) -> SpaceSummary:
    """One feature space. Its encoder has the name that the last job used, if a dataset has recorded one."""
    shards, _ = read_each(map(space.shard_path, space.shard_names()), Path.stat)
    records = [
        record for version in store.datasets.list() for record in version.spaces() if record.space == space.digest
    ]
    newest = max(records, key=lambda record: record.recorded_at, default=None)
    return SpaceSummary(
        space=space.digest,
        encoder=newest.encoder if newest else space.definition.architecture,
        dim=space.definition.dim,
        rows=count_rows(space),
        shards=len(shards),
        size_bytes=sum(status.st_size for status in shards.values()),
    )


def _missing(store: Store, space: str, version: DatasetVersion) -> int | None:
    try:
        return count_missing(store.open_space(space), version.record.digest, version.keys())
    except StoreError:
        return None
