"""The closing chunk of a prediction: the table with a label and the probability of each class in every row."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jdq.store.datasets import DatasetVersion
from jdq.store.publish import make_folder, partial_beside, sync_folder
from jdq.store.trained import Heads, Models
from jdq.worker.heads.decision import predicted_labels
from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Predict
from jdq.worker.queue.ledger import Outcome

PREDICTIONS = "predictions.csv"
LABEL, PROBABILITY = "predicted_label", "probability_"
# Labels counted in the result; there may be as many as label sets.
MOST_COUNTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What `predicted_labels` needs beside the probabilities."""

    classes: tuple[str, ...]
    multi_label: bool
    label_separator: str | None

    def labels(self, probabilities: np.ndarray) -> list[str]:
        """The label of each row of (rows, classes)."""
        return predicted_labels(
            probabilities, self.classes, multi_label=self.multi_label, label_separator=self.label_separator
        )


class PredictionsTable:
    """Writes `runs/<job>/predictions.csv`: all columns of the table, the label, and a probability for each class."""

    def __init__(self, job: str, spec: Predict, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._runtime = runtime
        self._path = runtime.runs.folder(job) / PREDICTIONS

    def prepare(self, pulse: Pulse) -> None:
        """Loads the head and finds the features, or gathers the model's probabilities."""
        self._version = self._runtime.version(self._spec.dataset, self._spec.version)
        self._naming, self._of_rows = self._by_head() if self._spec.head else self._by_model()

    def compute(self, pulse: Pulse) -> None:
        """Writes the table under another name."""
        make_folder(self._path.parent)
        self._partial = partial_beside(self._path)
        try:
            self._counts = write_table(self._partial, self._version, self._naming, self._of_rows, pulse)
        except BaseException:
            self._partial.unlink(missing_ok=True)
            raise

    def publish(self, pulse: Pulse) -> Outcome:
        """Gives the table its name."""
        self._partial.replace(self._path)
        sync_folder(self._path.parent)
        result = {
            "dataset": self._version.name,
            "version": self._version.version,
            "rows": self._version.n_rows,
            "head_id": self._spec.head,
            "model_id": self._spec.model,
            "file": f"runs/{self._job}/{PREDICTIONS}",
            "predicted": dict(self._counts.most_common(MOST_COUNTED)),
        }
        return Outcome(result=result)

    def _by_head(self) -> tuple[Naming, Callable[[slice], np.ndarray]]:
        from jdq.worker.heads.files import load_head

        head = load_head(Heads(self._runtime.store.root).path(self._spec.head or ""))
        features = self._runtime.space(head.record.origin.space).rows(self._version.keys())
        record = head.record
        naming = Naming(classes=head.classes, multi_label=record.multi_label, label_separator=record.label_separator)
        return naming, lambda rows: head.predict_proba(features[rows])

    def _by_model(self) -> tuple[Naming, Callable[[slice], np.ndarray]]:
        record = Models(self._runtime.store.root).record(self._spec.model or "")
        found = model_probabilities(self._job, self._version, self._runtime)
        naming = Naming(
            classes=tuple(record["classes"]),
            multi_label=record["multi_label"],
            label_separator=record["options"]["separator"],
        )
        return naming, lambda rows: found[rows]


def model_probabilities(job: str, version: DatasetVersion, runtime: Runtime) -> np.ndarray:
    """(rows, classes) float32 of all rows, from the parts that the chunks stored; equal texts have equal ones."""
    n_chunks = len(runtime.runs.get_array(job, "bounds")) - 1
    parts = np.vstack([runtime.runs.get_array(job, f"part-{chunk}") for chunk in range(1, n_chunks + 1)])
    keys = np.ascontiguousarray(version.keys()).view("V16").ravel()
    _, first, text_of = np.unique(keys, return_index=True, return_inverse=True)
    # Parts are in the order of each text's first row, texts in the order of their keys.
    place = np.empty(len(first), dtype=np.intp)
    place[np.argsort(first)] = np.arange(len(first))
    found: np.ndarray = parts[place[text_of]]
    return found


def write_table(
    path: Path,
    version: DatasetVersion,
    naming: Naming,
    of_rows: Callable[[slice], np.ndarray],
    pulse: Pulse,
) -> Counter[str]:
    """Writes the rows in order, a block at a time; how often each label was predicted. The file is on disk then."""
    counts: Counter[str] = Counter()
    columns = (LABEL, *(PROBABILITY + name for name in naming.classes))
    with path.open("x", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*version.columns, *unused(columns, version.columns)])
        for start, cells in _blocks(version):
            probabilities = of_rows(slice(start, start + len(cells)))
            labels = naming.labels(probabilities)
            counts.update(labels)
            shown = [[f"{value:.6g}" for value in row] for row in probabilities.tolist()]
            out.writerows([*row, label, *of] for row, label, of in zip(cells, labels, shown, strict=True))
            pulse.report(rows=start + len(cells))
        file.flush()
        os.fsync(file.fileno())
    return counts


def unused(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names, with underscores after those that the table has as its own columns."""
    found: list[str] = []
    for name in names:
        while name in taken or name in found:
            name += "_"
        found.append(name)
    return found


def _blocks(version: DatasetVersion) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """(first row, cells of its rows) of each block, in order."""
    start = 0
    for frame in version.blocks():
        yield start, list(frame.itertuples(index=False, name=None))
        start += len(frame)
