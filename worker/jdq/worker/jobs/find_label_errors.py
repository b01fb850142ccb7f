"""Finding the labels of a dataset version that are probably wrong, from its stored features: one chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jdq.store.datasets import SpaceRecord
from jdq.store.datasets.records import PARTS
from jdq.store.store import Store
from jdq.worker.jobs.cores import threads_for
from jdq.worker.jobs.labelled import LabelledRows, labelled_rows
from jdq.worker.jobs.learnt import UnknownLearning, learnt_by, short_keys
from jdq.worker.jobs.tables import publish_table, write_partial
from jdq.worker.jobs.train_head import recorded_space, without_skipped
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import FindLabelErrors
from jdq.worker.queue.ledger import Outcome

if TYPE_CHECKING:
    from jdq.worker.heads.features import FeaturesAndTexts
    from jdq.worker.heads.held_out import HeldOut
    from jdq.worker.heads.label_errors import Suspects
    from jdq.worker.heads.labels import Targets

COLUMNS = ("row", "text", "given_label", "suggested_label", "part", "score", "suggested_probability")
# At most this many pairs of given and suggested labels in the result; there can be one per pair of classes.
MOST_PAIRS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """The labelled rows with their features: (n, dim), mapped from the store, with texts."""

    data: LabelledRows
    targets: Targets
    features: FeaturesAndTexts
    space: SpaceRecord

    @property
    def size_bytes(self) -> int:
        """The size of all features in float32."""
        rows, dim = self.features.shape
        return 4 * rows * dim


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """The suspects, with the heads that judged them."""

    labelled: Labelled
    held_out: HeldOut
    suspects: Suspects


@dataclass(frozen=True, slots=True)
class FindLabelErrorsWork:
    """Trains heads on folds of the labelled rows, and compares each row's label with what the other rows suggest."""

    context: ChunkContext[FindLabelErrors]

    def prepare(self) -> Labelled:
        """Reads the labels and maps the features. Raises UnknownSpace, MissingFeatures, NoLabels, HeadError."""
        from jdq.worker.heads.features import FeaturesAndTexts
        from jdq.worker.heads.labels import read_targets

        spec, runtime = self.context.spec, self.context.runtime
        version = runtime.version(spec.dataset, spec.version)
        record = recorded_space(version, spec.space)
        data = labelled_rows(version, spec.label_column, label_separator=spec.label_separator)
        space = runtime.space(record.space)
        data = without_skipped(data, space.missing(data.keys), record.job, runtime)
        targets = read_targets(data.labels, label_separator=spec.label_separator)
        features = FeaturesAndTexts(space.rows(data.keys), data.texts)
        return Labelled(data=data, targets=targets, features=features, space=record)

    def compute(self, labelled: Labelled, held: HeldLease) -> Judged:
        """Computes each row's probabilities by heads that did not learn from it, and finds the suspects."""
        from jdq.worker.heads.fitted import FitContext
        from jdq.worker.heads.held_out import held_out_probabilities
        from jdq.worker.heads.label_errors import find_suspects
        from jdq.worker.heads.options import HeadOptions

        spec, data = self.context.spec, labelled.data
        context = FitContext(
            X=labelled.features,
            targets=labelled.targets,
            train=np.arange(len(data.rows)),
            validation=np.arange(0),
            options=HeadOptions(head=spec.head, seed=spec.seed, label_separator=spec.label_separator),
            check=lambda done, total: held.report(step=done, steps=total),
            keys=data.keys,
        )
        with threads_for(labelled.size_bytes):
            held_out = held_out_probabilities(context, spec.folds)
        suspects = find_suspects(labelled.targets.codes, held_out.probabilities, held_out.known)
        return Judged(labelled=labelled, held_out=held_out, suspects=suspects)

    def publish(self, judged: Judged) -> Outcome:
        """Writes the table and the result."""
        files, job = self.context.runtime.job_files, self.context.job
        path = files.folder(job) / FindLabelErrors.table
        records = list(_records(judged, self.context.spec.label_separator))
        publish_table(write_partial(path, [COLUMNS, *records]), path, files)
        result = self._result(judged, Counter((given, suggested) for _, _, given, suggested, *_ in records))
        files.put_result(job, result)
        return Outcome(result=result)

    def _result(self, judged: Judged, pairs: Counter[tuple[str, str]]) -> dict[str, Any]:
        spec, labelled = self.context.spec, judged.labelled
        return {
            "dataset": spec.dataset,
            "version": spec.version,
            "label_column": labelled.data.column,
            "space": labelled.space.space,
            "encoder": labelled.space.encoder,
            "head": spec.head,
            "params": judged.held_out.params,
            "folds": spec.folds,
            "rows": len(labelled.data.rows),
            "suspects": len(judged.suspects.rows),
            "estimated_errors": round(judged.suspects.estimated),
            "pairs": [[*pair, n] for pair, n in pairs.most_common(MOST_PAIRS)],
            "file": f"runs/{self.context.job}/{FindLabelErrors.table}",
            "warnings": list(_warnings(judged, self.context.runtime.store)),
        }


def _records(judged: Judged, label_separator: str | None) -> Iterator[tuple[str, ...]]:
    """A record of the table for each suspect, the most likely error first."""
    data, suspects = judged.labelled.data, judged.suspects
    ascending = np.sort(suspects.rows)
    texts = dict(zip(ascending.tolist(), data.texts(ascending), strict=True))
    suggested = _names(judged.labelled.targets, suspects.suggested, label_separator)
    for n, place in enumerate(suspects.rows.tolist()):
        yield (
            str(data.rows[place] + 1),
            texts[place],
            str(data.labels[place]),
            suggested[n],
            PARTS[data.split.parts[place]],
            f"{1 - suspects.given_probability[n]:.6g}",
            f"{suspects.suggested_probability[n]:.6g}",
        )


def _names(targets: Targets, suggested: npt.NDArray[Any], label_separator: str | None) -> list[str]:
    from jdq.worker.heads.decision import predicted_labels

    if not targets.multi_label:
        return [targets.classes[code] for code in suggested]
    return predicted_labels(suggested, targets.classes, multi_label=True, label_separator=label_separator)


def _warnings(judged: Judged, store: Store) -> Iterator[str]:
    data, targets, known = judged.labelled.data, judged.labelled.targets, judged.held_out.known
    has = targets.codes if targets.multi_label else targets.codes[:, None] == np.arange(len(targets.classes))
    if single := int((has & ~known).any(axis=1).sum()):
        yield f"{single:,} rows cannot be judged: no other text has their label"
    try:
        learnt = np.isin(short_keys(data.keys), learnt_by(store, judged.labelled.space.encoder))
    except UnknownLearning as error:
        yield f"it is not known whether the encoder has learnt from these labels: {error}"
        return
    if learnt.any():
        yield f"the encoder has learnt from the labels of {learnt.sum():,} rows: errors among them are hard to see"
