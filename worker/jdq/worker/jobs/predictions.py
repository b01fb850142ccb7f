"""The closing chunk of a prediction: the table with the predicted label and each class's probability in every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from jdq.store.datasets import DatasetVersion
from jdq.store.trained import Heads, Models
from jdq.worker.heads.certainty import Certainty, Requested, check_requested
from jdq.worker.heads.conformal import Certain, certain
from jdq.worker.heads.decision import predicted_labels
from jdq.worker.jobs.tables import publish_table, write_partial
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Predict
from jdq.worker.queue.ledger import Outcome

if TYPE_CHECKING:
    from jdq.worker.heads.record import HeadRecord

SET, LABEL, PROBABILITY = "label_set", "predicted_label", "probability_"
# At most this many labels are counted in the result; there can be one per combination of classes.
MOST_COUNTED = 100
UNCONDITIONAL = Certain()


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What `predicted_labels` needs besides the probabilities: classes, in their order. label_separator: for label
    sets, None for one label per text. thresholds: of label sets, as in `predicted_sets`. certainty: what the head or
    model promises, if anything.
    """

    classes: tuple[str, ...]
    multi_label: bool
    label_separator: str | None
    thresholds: tuple[float, ...]
    certainty: Certainty | None

    def certain(self, requested: Requested) -> Certain:
        """The probabilities of these levels. Raises NoCertainty, BadParameter."""
        check_requested(requested, {"certainty": self.certainty}, "the head or model")
        return certain(requested, self.certainty)

    def labels(self, probabilities: np.ndarray, certain: Certain = UNCONDITIONAL) -> list[str]:
        """The label of each row of (rows, classes); "" for a row without one."""
        return predicted_labels(
            probabilities,
            self.classes,
            multi_label=self.multi_label,
            label_separator=self.label_separator,
            thresholds=self.thresholds,
            least=certain.least_to_answer or 0.0,
        )


def naming_of(record: HeadRecord) -> dict[str, Any]:
    """The fields of `Naming` of a head."""
    names = ("classes", "multi_label", "label_separator", "thresholds", "certainty")
    return {name: getattr(record, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """What predicts the rows. probabilities: (rows of the slice, classes) of a slice of the table's rows."""

    naming: Naming
    certain: Certain
    probabilities: Callable[[slice], np.ndarray]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a prediction."""
        sets = () if self.certain.least_in_set is None else (SET,)
        return (*sets, LABEL, *(PROBABILITY + name for name in self.naming.classes))

    def cells(self, probabilities: np.ndarray) -> Iterator[tuple[str, ...]]:
        """The label of each row, "" for a row without one, after its set if sets were requested."""
        labels = self.naming.labels(probabilities, self.certain)
        sets = self.certain.sets(probabilities, self.naming.classes)
        return zip(labels, strict=True) if sets is None else zip(sets, labels, strict=True)


@dataclass(frozen=True, slots=True)
class PredictionsTable:
    """Writes `runs/<job>/predictions.csv`: all columns of the table, the label, and a probability per class."""

    context: ChunkContext[Predict]

    def prepare(self) -> Predictor:
        """Loads the head and finds the features, or collects the model's probabilities."""
        spec = self.context.spec
        return self._by_head(spec.head) if spec.head else self._by_model(spec.model or "")

    def compute(self, predictor: Predictor, held: HeldLease) -> tuple[Path, Counter[str]]:
        """Writes the table under another name: its path, and how often each label was predicted."""
        counts: Counter[str] = Counter()
        return write_partial(self._path, _records(self._version, predictor, held, counts)), counts

    def publish(self, written: tuple[Path, Counter[str]]) -> Outcome:
        """Gives the table its name."""
        partial, predicted = written
        publish_table(partial, self._path, self.context.runtime.job_files)
        version, spec = self._version, self.context.spec
        result = {
            "dataset": version.name,
            "version": version.version,
            "rows": version.n_rows,
            "head_id": spec.head,
            "model_id": spec.model,
            "file": f"runs/{self.context.job}/{Predict.table}",
            **({} if spec.certain.abstain_at is None else {"abstained": predicted.pop("", 0)}),
            "predicted": dict(predicted.most_common(MOST_COUNTED)),
        }
        return Outcome(result=result)

    @property
    def _path(self) -> Path:
        return self.context.runtime.job_files.folder(self.context.job) / Predict.table

    @property
    def _version(self) -> DatasetVersion:
        return self.context.runtime.version(self.context.spec.dataset, self.context.spec.version)

    def _by_head(self, name: str) -> Predictor:
        from jdq.worker.heads.features import Features, unread, with_texts
        from jdq.worker.heads.files import load_head

        head = load_head(Heads(self.context.runtime.store.root).path(name))
        record = head.record
        features: Features = unread(self._version.n_rows, record.dim)
        if head.predictor.reads_features:
            features = self.context.runtime.space(record.origin.space).rows(self._version.keys())

        def probabilities(rows: slice) -> np.ndarray:
            texts = self._version.texts(rows) if head.predictor.reads_texts else []
            return head.predict_proba(with_texts(features[rows], texts))

        return self._predictor(Naming(**naming_of(record)), probabilities)

    def _by_model(self, name: str) -> Predictor:
        record = Models(self.context.runtime.store.root).record(name)
        probabilities = model_probabilities(self.context.job, self._version, self.context.runtime)
        naming = Naming(
            classes=tuple(record["classes"]),
            multi_label=record["multi_label"],
            label_separator=record["options"]["separator"],
            thresholds=tuple(record.get("thresholds", ())),
            certainty=msgspec.convert(record.get("certainty"), Certainty | None),
        )
        return self._predictor(naming, lambda rows: probabilities[rows])

    def _predictor(self, naming: Naming, probabilities: Callable[[slice], np.ndarray]) -> Predictor:
        return Predictor(naming=naming, certain=naming.certain(self.context.spec.certain), probabilities=probabilities)


def model_probabilities(job: str, version: DatasetVersion, runtime: Runtime) -> np.ndarray:
    """(rows, classes) float32 of all rows, from the parts that the chunks stored; equal texts have equal rows."""
    n_chunks = len(runtime.job_files.get_array(job, "bounds")) - 1
    parts = np.vstack([runtime.job_files.get_array(job, f"part-{chunk}") for chunk in range(1, n_chunks + 1)])
    keys = np.ascontiguousarray(version.keys()).view("V16").ravel()
    _, first, text_of = np.unique(keys, return_index=True, return_inverse=True)
    # Parts are in the order of each text's first row, texts in the order of their keys.
    place = np.empty(len(first), dtype=np.intp)
    place[np.argsort(first)] = np.arange(len(first))
    probabilities: np.ndarray = parts[place[text_of]]
    return probabilities


def _records(
    version: DatasetVersion, predictor: Predictor, held: HeldLease, counts: Counter[str]
) -> Iterator[Sequence[str]]:
    """The header and every row with its prediction, block by block; counts the labels.

    A row without text gets neither label nor probabilities.
    """
    columns = predictor.columns
    yield [*version.columns, *unused(columns, version.columns)]
    text = version.columns.index(version.text_column)
    for start, cells in _blocks(version):
        probabilities = predictor.probabilities(slice(start, start + len(cells)))
        for row, labels, of in zip(cells, predictor.cells(probabilities), probabilities.tolist(), strict=True):
            if not row[text].strip():
                yield [*row, *[""] * len(columns)]
                continue
            counts[labels[-1]] += 1
            yield [*row, *labels, *(f"{value:.6g}" for value in of)]
        held.report(rows=start + len(cells))


def unused(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names, with underscores appended to those that the table already has as columns."""
    free: list[str] = []
    for name in names:
        while name in taken or name in free:
            name += "_"
        free.append(name)
    return free


def _blocks(version: DatasetVersion) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """(first row, cells of its rows) of each block, in order."""
    start = 0
    for frame in version.blocks():
        yield start, list(frame.itertuples(index=False, name=None))
        start += len(frame)
