"""Finding near-duplicates by the cosine similarity of stored features: one chunk."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.store.datasets import DatasetVersion, SpaceRecord
from jdq.store.errors import StoreError
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.rows import FeatureRows
from jdq.worker.jobs.cores import threads_for
from jdq.worker.jobs.labelled import labelled_rows
from jdq.worker.jobs.neighbours import Float32, most_similar, typical_similarity
from jdq.worker.jobs.tables import publish_table, write_partial
from jdq.worker.jobs.train_head import recorded_space
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import FindDuplicates
from jdq.worker.queue.ledger import Outcome

COLUMNS = ("row", "text", "other_row", "other_text", "similarity")
# As a share of the way from the similarity of any two texts to that of equal ones.
NEAR = 0.95


class NothingToCompare(StoreError):
    """One of the two sides has no rows with features."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """Rows of a dataset version with features. rows: (n,) positions in its table. features: theirs."""

    version: DatasetVersion
    rows: npt.NDArray[np.int64]
    features: FeatureRows

    def texts(self, places: npt.NDArray[np.int64]) -> dict[int, str]:
        """The texts at these places."""
        ascending = np.unique(places)
        return dict(zip(ascending.tolist(), self.version.texts(self.rows[ascending]), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """Two sides in a feature space. others: None if each row is compared with the earlier ones."""

    space: SpaceRecord
    rows: Side
    others: Side | None
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Duplicates:
    """Each row's most similar other row, with the similarity. typical: of any two texts. least: what counts as near."""

    compared: Compared
    places: npt.NDArray[np.int64]
    similarity: Float32
    typical: float
    least: float


@dataclass(frozen=True, slots=True)
class FindDuplicatesWork:
    """Compares every row with every other, block by block."""

    context: ChunkContext[FindDuplicates]

    def prepare(self) -> Compared:
        """Maps the features. Raises UnknownSpace, UnknownDataset, NoLabels, NothingToCompare."""
        spec, runtime = self.context.spec, self.context.runtime
        version = runtime.version(spec.dataset, spec.version)
        record = recorded_space(version, spec.space)
        space = runtime.space(record.space)
        if spec.across_split:
            rows, others, missing = _sides_of_split(version, space, spec.label_column)
        else:
            rows, missing = _side(version, space)
            others = None
        if spec.against is not None:
            others, missing_others = _side(runtime.version(spec.against, spec.against_version or ""), space)
            missing += missing_others
        return Compared(space=record, rows=rows, others=others, missing=missing)

    def compute(self, compared: Compared, held: HeldLease) -> Duplicates:
        """Finds the most similar other row of each row."""
        rows, others = compared.rows.features, (compared.others or compared.rows).features
        with threads_for(4 * rows.shape[0] * rows.shape[1]):
            typical = typical_similarity(others)
            places, similarity = most_similar(
                rows,
                others,
                earlier=compared.others is None,
                check=lambda done, total: held.report(step=done, steps=total),
            )
        least = self.context.spec.least
        least = typical + NEAR * (1 - typical) if least is None else least
        return Duplicates(compared=compared, places=places, similarity=similarity, typical=typical, least=least)

    def publish(self, duplicates: Duplicates) -> Outcome:
        """Writes the table and the result."""
        files, job = self.context.runtime.job_files, self.context.job
        near = np.flatnonzero((duplicates.similarity >= duplicates.least) & (duplicates.places >= 0))
        near = near[np.argsort(-duplicates.similarity[near], kind="stable")]
        path = files.folder(job) / FindDuplicates.table
        publish_table(write_partial(path, _records(duplicates, near)), path, files)
        result = self._result(duplicates, near)
        files.put_result(job, result)
        return Outcome(result=result)

    def _result(self, duplicates: Duplicates, near: npt.NDArray[np.intp]) -> dict[str, Any]:
        spec, compared = self.context.spec, duplicates.compared
        others = compared.others or compared.rows
        keys, other_keys = compared.rows.version.keys(), others.version.keys()
        equal = keys[compared.rows.rows[near]] == other_keys[others.rows[duplicates.places[near]]]
        left_out = f"{compared.missing:,} rows have no features in this feature space and are left out"
        return {
            "dataset": spec.dataset,
            "version": spec.version,
            "against": spec.against,
            "across_split": spec.across_split,
            "space": compared.space.space,
            "encoder": compared.space.encoder,
            "rows": len(compared.rows.rows),
            "others": None if compared.others is None else len(compared.others.rows),
            "found": len(near),
            "equal_texts": int(equal.all(axis=1).sum()),
            "least": round(duplicates.least, 6),
            "typical": round(duplicates.typical, 6),
            "file": f"runs/{self.context.job}/{FindDuplicates.table}",
            "warnings": [left_out] if compared.missing else [],
        }


def _side(version: DatasetVersion, space: Space, chosen: npt.NDArray[np.int64] | None = None) -> tuple[Side, int]:
    """These rows of a version (default: all) that have features, and how many have none."""
    chosen = np.arange(version.n_rows) if chosen is None else chosen
    missing = space.missing(version.keys()[chosen])
    rows = chosen[~missing]
    if not len(rows):
        raise NothingToCompare(
            f"no row of {version.name} to compare has features in feature space {space.digest[:8]}\n"
            f"  try: jdq submit extract FILE --name {version.name}"
        )
    return Side(version=version, rows=rows, features=space.rows(version.keys()[rows])), int(missing.sum())


def _sides_of_split(version: DatasetVersion, space: Space, label_column: str | None) -> tuple[Side, Side, int]:
    """The test part, and the others."""
    from jdq.worker.heads.split import TEST

    data = labelled_rows(version, label_column)
    tested = data.split.parts == TEST
    rows, missing = _side(version, space, data.rows[tested])
    others, missing_others = _side(version, space, data.rows[~tested])
    return rows, others, missing + missing_others


def _records(duplicates: Duplicates, near: npt.NDArray[np.intp]) -> Iterator[tuple[str, ...]]:
    """The header, and a record for each near-duplicate."""
    rows, others = duplicates.compared.rows, duplicates.compared.others or duplicates.compared.rows
    places = duplicates.places[near]
    texts, other_texts = rows.texts(near), others.texts(places)
    yield COLUMNS
    for place, other in zip(near.tolist(), places.tolist(), strict=True):
        yield (
            str(rows.rows[place] + 1),
            texts[place],
            str(others.rows[other] + 1),
            other_texts[other],
            f"{duplicates.similarity[place]:.6g}",
        )
