"""A head from the stored features of a dataset version: one chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from jdq.store.datasets import DatasetVersion, SpaceRecord
from jdq.store.errors import UnknownSpace
from jdq.store.trained import Heads
from jdq.worker.jobs.cores import threads_for
from jdq.worker.jobs.cost import extraction_cost
from jdq.worker.jobs.labelled import LabelledRows, labelled_rows
from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import TrainHead
from jdq.worker.queue.ledger import Outcome

if TYPE_CHECKING:
    from jdq.worker.heads.head import TrainedHead
    from jdq.worker.heads.record import Origin


class TrainingData:
    """Features, labels and split of a job, read once: what its training and each trial of its search start from."""

    def __init__(self, spec: TrainHead, runtime: Runtime) -> None:
        """Raises UnknownSpace, MissingFeatures, NoLabels, HeadError."""
        version = runtime.version(spec.dataset, spec.version)
        self.space = recorded_space(version, spec.space)
        data = labelled_rows(version, spec.label_column, label_separator=spec.options.label_separator)
        space = runtime.space(self.space.space)
        self.data = without_skipped(data, space.missing(data.keys), self.space.job, runtime)
        # Mapped, not read: a million rows need not fit in memory.
        self.features = space.rows(self.data.keys)
        self._spec = spec

    @property
    def size_bytes(self) -> int:
        """Of all rows' features in float32."""
        rows, dim = self.features.shape
        return 4 * rows * dim

    @property
    def origin(self) -> Origin:
        """Where features and labels come from, for the head's record."""
        from jdq.worker.heads.record import Origin

        return Origin(
            space=self.space.space,
            encoder=self.space.encoder,
            dataset=self._spec.dataset,
            dataset_version=self._spec.version,
            label_column=self.data.column,
        )


class TrainHeadWork:
    """Reads features and labels, trains, publishes the head under its job's id."""

    def __init__(self, job: str, spec: TrainHead, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Reads the labels, the split and the features of the dataset version."""
        self._training = TrainingData(self._spec, self._runtime)

    def compute(self, pulse: Pulse) -> None:
        """Trains the head, and stops when told to."""
        from jdq.worker.heads.train import train_head

        training = self._training
        with threads_for(training.size_bytes):
            self._head = train_head(
                training.features,
                training.data.labels,
                training.data.split,
                self._spec.options,
                origin=training.origin,
                keys=training.data.keys,
                allowed=self._runtime.config.allowed_classifiers,
                check=lambda done, total: pulse.report(step=done, steps=total),
            )

    def publish(self, pulse: Pulse) -> Outcome:
        """Publishes the head as one file, and what its features cost beside it."""
        return Outcome(result=publish_head(self._job, self._head, self._training, self._runtime))


def publish_head(job: str, head: TrainedHead, training: TrainingData, runtime: Runtime) -> dict[str, Any]:
    """Puts the head and its costs into the store under the job's id; the job's result."""
    from jdq.worker.heads.files import save_head

    cost = extraction_cost(training.space.job, runtime)
    runtime.runs.put_result(job, {"head_id": job, "extraction": cost})
    Heads(runtime.store.root).put(job, save_head(head))
    result: dict[str, Any] = {"head_id": job, "extraction": cost, **msgspec.to_builtins(head.record)}
    del result["history"]  # in the head's file; too long for the ledger
    return result


def without_skipped(data: LabelledRows, missing: np.ndarray, extraction: str, runtime: Runtime) -> LabelledRows:
    """The rows less those that the extraction was told to skip, which have no features.

    What is missing for another reason stays, and is an error when it is read.
    """
    skipped = extraction_cost(extraction, runtime).get("skipped", 0)
    if not missing.any() or len(np.unique(data.keys[missing], axis=0)) > skipped:
        return data
    return data.only(~missing, f"{missing.sum()} rows have no features, which the extraction skipped")


def recorded_space(version: DatasetVersion, space: str | None) -> SpaceRecord:
    """The record of the feature space, or of the last one that the version was extracted in. Raises UnknownSpace."""
    records = version.spaces()
    for record in records:
        if space in (None, record.space):
            return record
    raise UnknownSpace(space or "", [record.space for record in records])
