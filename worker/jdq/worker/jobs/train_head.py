"""Training a head on the stored features of a dataset version: one chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from jdq.store.datasets import DatasetVersion, SpaceRecord
from jdq.store.errors import UnknownSpace
from jdq.store.trained import Heads
from jdq.worker.jobs.cores import threads_for
from jdq.worker.jobs.cost import extraction_cost
from jdq.worker.jobs.labelled import LabelledRows, labelled_rows
from jdq.worker.jobs.learnt import learnt_by, measurable, unlearnt
from jdq.worker.jobs.tested import put_baselines, put_tested
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import TrainHead
from jdq.worker.queue.ledger import Outcome
from jdq.worker.report.setting import test_setting_of

if TYPE_CHECKING:
    from jdq.worker.heads.features import Features
    from jdq.worker.heads.head import TrainedHead
    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.heads.record import Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """Features, labels and split of a job, with which its training and each trial of its search start.

    features: (n, dim), those of data's rows, mapped from the store, with their texts. learnt_rows: as in the head's
    record.
    """

    context: ChunkContext[TrainHead]
    space: SpaceRecord
    data: LabelledRows
    features: Features
    learnt_rows: int | None

    @property
    def size_bytes(self) -> int:
        """The size of all features in float32."""
        rows, dim = self.features.shape
        return 4 * rows * dim

    @property
    def origin(self) -> Origin:
        """Where features and labels come from, for the head's record."""
        from jdq.worker.heads.record import Origin

        definition = self.context.runtime.space(self.space.space).definition
        return Origin(
            space=self.space.space,
            encoder=self.space.encoder,
            pooling=definition.pooling,
            precision=definition.precision,
            dataset=self.context.spec.dataset,
            dataset_version=self.context.spec.version,
            label_column=self.data.column,
            split=self.context.spec.split,
            learnt_rows=self.learnt_rows,
        )

    def repeated(self, head: TrainedHead, options: HeadOptions, held: HeldLease) -> TrainedHead:
        """The head, measured on as many splits as the job requests."""
        from jdq.worker.heads.repeats import over_splits

        spec, runtime, data = self.context.spec, self.context.runtime, self.data
        if spec.repeats == 1:
            return head
        learnt = (
            np.empty(0, dtype=np.uint64) if self.learnt_rows is None else learnt_by(runtime.store, self.space.encoder)
        )
        return over_splits(
            head,
            self.features,
            data.labels,
            options,
            repeats=spec.repeats,
            keys=data.keys,
            groups=data.groups,
            learnt=lambda split: ~unlearnt(split, data.keys, learnt),
            allowed=runtime.config.allowed_classifiers,
            check=lambda done, total: held.report(step=done, steps=total),
        )

    def forecast(self, head: TrainedHead, held: HeldLease) -> TrainedHead:
        """The head; its record has what more labels would bring, if the job requests that."""
        from jdq.worker.heads.forecast import with_forecast

        spec, data = self.context.spec, self.data
        if not spec.forecast:
            return head
        return with_forecast(
            head,
            self.features,
            data.labels,
            data.split,
            spec.options,
            keys=data.keys,
            check=lambda done, total: held.report(step=done, steps=total),
        )

    def measure_baselines(self, head: TrainedHead, held: HeldLease) -> None:
        """Measures the baselines on the head's test rows."""
        put_baselines(
            self.context.runtime.job_files,
            self.context.spec.dataset,
            test_setting_of(msgspec.to_builtins(head.record)),
            self.data,
            head.record.label_separator,
            lambda done, total: held.report(step=done, steps=total),
        )

    def publish(self, head: TrainedHead) -> Outcome:
        """Publishes the head as one file under the job's id, and what its features cost beside it."""
        from jdq.worker.heads.files import save_head
        from jdq.worker.heads.fitting import probabilities_of
        from jdq.worker.heads.split import TEST

        job, runtime = self.context.job, self.context.runtime
        cost = extraction_cost(self.space.job, runtime)
        runtime.job_files.put_result(job, {"head_id": job, "extraction": cost})
        rows = self.data.split.rows(TEST)
        put_tested(
            runtime.job_files,
            job,
            self.data,
            probabilities_of(head.predictor, self.features, rows),
            label_separator=head.record.label_separator,
            thresholds=head.record.thresholds,
        )
        Heads(runtime.store.root).put(job, save_head(head))
        result: dict[str, Any] = {"head_id": job, "extraction": cost, **msgspec.to_builtins(head.record)}
        del result["history"], result["certainty"]  # in the head's file; too long for the ledger
        return Outcome(result=result)


def training_data(context: ChunkContext[TrainHead], space_digest: str | None = None) -> TrainingData:
    """The job's training data, by default in its own feature space.

    Raises UnknownSpace, MissingFeatures, NoLabels, HeadError.
    """
    spec, runtime = context.spec, context.runtime
    version = runtime.version(spec.dataset, spec.version)
    record = recorded_space(version, space_digest or spec.space)
    data = labelled_rows(
        version,
        spec.label_column,
        label_separator=spec.options.label_separator,
        split=spec.split,
        open_version=runtime.version,
    )
    space = runtime.space(record.space)
    data = without_skipped(data, space.missing(data.keys), record.job, runtime)
    data, learnt_rows = measurable(data, record.encoder, runtime.store)
    from jdq.worker.heads.features import FeaturesAndTexts

    # Mapped, not read: a million rows need not fit in memory.
    features = FeaturesAndTexts(space.rows(data.keys), data.texts)
    return TrainingData(context=context, space=record, data=data, features=features, learnt_rows=learnt_rows)


@dataclass(frozen=True, slots=True)
class TrainHeadWork:
    """Reads features and labels, trains, publishes the head under its job's id."""

    context: ChunkContext[TrainHead]

    def prepare(self) -> TrainingData:
        """Reads labels and split, and maps the features of the dataset version."""
        return training_data(self.context)

    def compute(self, training: TrainingData, held: HeldLease) -> tuple[TrainingData, TrainedHead]:
        """Trains the head."""
        from jdq.worker.heads.train import train_head

        with threads_for(training.size_bytes):
            head = train_head(
                training.features,
                training.data.labels,
                training.data.split,
                self.context.spec.options,
                origin=training.origin,
                keys=training.data.keys,
                allowed=self.context.runtime.config.allowed_classifiers,
                check=lambda done, total: held.report(step=done, steps=total),
            )
            head = training.repeated(head, self.context.spec.options, held)
            head = training.forecast(head, held)
            training.measure_baselines(head, held)
        return training, head

    def publish(self, trained: tuple[TrainingData, TrainedHead]) -> Outcome:
        """Publishes the head."""
        training, head = trained
        return training.publish(head)


def without_skipped(data: LabelledRows, missing: np.ndarray, extraction: str, runtime: Runtime) -> LabelledRows:
    """The rows without those that the extraction skipped, which have no features.

    Rows whose features are missing for another reason stay, and cause an error when they are read.
    """
    skipped = extraction_cost(extraction, runtime).get("skipped", 0)
    if not missing.any() or len(np.unique(data.keys[missing], axis=0)) > skipped:
        return data
    return data.only(~missing, f"{missing.sum()} rows have no features, which the extraction skipped")


def recorded_space(version: DatasetVersion, space: str | None) -> SpaceRecord:
    """The record of the feature space, or of the version's last extraction. Raises UnknownSpace."""
    records = version.spaces()
    for record in records:
        if space in (None, record.space):
            return record
    raise UnknownSpace(space or "", [record.space for record in records])
