"""A head from the stored features of a dataset version: one chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from jdq.store.datasets import DatasetVersion, SpaceRecord
from jdq.store.errors import UnknownSpace
from jdq.store.publish import publish
from jdq.worker.contract import TrainHead
from jdq.worker.heart import Pulse
from jdq.worker.ledger.ledger import Outcome
from jdq.worker.runtime import Runtime

if TYPE_CHECKING:
    from jdq.worker.heads.split import Split


class TrainHeadWork:
    """Reads features and labels, trains, publishes the head under its job's id."""

    def __init__(self, job: str, spec: TrainHead, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Reads the labels, the split and the features of the dataset version."""
        version = self._runtime.version(self._spec.dataset, self._spec.version)
        self._record = recorded_space(version, self._spec.space)
        self._column = self._spec.label_column or version.label_column or ""
        self._labels = version.labels(self._column)
        self._split = stored_split(version, self._column, self._labels)
        self._features = self._runtime.space(self._record.space).read(version.keys())

    def compute(self, pulse: Pulse) -> None:
        """Trains the head, and stops when told to."""
        from jdq.worker.heads.record import Origin
        from jdq.worker.heads.train import train_head

        self._head = train_head(
            self._features,
            self._labels,
            self._split,
            self._spec.options,
            origin=Origin(
                space=self._record.space,
                encoder=self._record.encoder,
                dataset=self._spec.dataset,
                dataset_version=self._spec.version,
                label_column=self._column,
            ),
            check=lambda done, total: pulse.report(step=done, steps=total),
        )

    def publish(self, pulse: Pulse) -> Outcome:
        """Publishes the head as one file."""
        from jdq.worker.heads.files import save_head

        publish(self._runtime.store.root / "heads" / f"{self._job}.safetensors", save_head(self._head))
        result: dict[str, Any] = {"head_id": self._job, **msgspec.to_builtins(self._head.record)}
        del result["history"]  # in the head's file; too long for the ledger
        return Outcome(result=result)


def recorded_space(version: DatasetVersion, space: str | None) -> SpaceRecord:
    """The record of the feature space, or of the last one that the version was extracted in. Raises UnknownSpace."""
    records = version.spaces()
    for record in records:
        if space in (None, record.space):
            return record
    raise UnknownSpace(space or "", [record.space for record in records])


def stored_split(version: DatasetVersion, column: str, labels: np.ndarray) -> Split:
    """The dataset version's one split of this label column: made by the first job that needs it, then kept.

    It does not depend on a job's seed, so that all heads and fine-tunes are measured on the same rows.
    """
    from jdq.worker.heads.split import Split, make_split

    stored = version.get_split(column) or version.put_split(column, make_split(labels, version.keys()))
    return Split.from_json(stored.parts, stored.fields)
