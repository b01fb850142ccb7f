"""Training the whole network on a dataset version: one chunk, however long it takes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from jdq.store.trained import Models
from jdq.worker.jobs.labelled import LabelledRows, labelled_rows
from jdq.worker.jobs.learnt import learnt_by, learnt_in, measurable
from jdq.worker.jobs.tested import put_baselines, put_tested
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import Draining, HeldLease
from jdq.worker.queue.contract import FineTune
from jdq.worker.queue.ledger import Outcome
from jdq.worker.report.comparison_row import fine_tune_cost
from jdq.worker.report.setting import test_setting_of

if TYPE_CHECKING:
    from jdq.worker.finetune.progress import Progress
    from jdq.worker.finetune.record import FineTuneRecord

CHECKPOINTS = "checkpoints"
# These are in the model's own file, and too long for the ledger.
LONG_FIELDS = ("history", "step_losses", "certainty")


@dataclass(frozen=True, slots=True)
class FineTuneWork:
    """Trains under `runs/<job>/checkpoints`, and publishes the model as `models/<job>`.

    A chunk that is leased again resumes from the last complete checkpoint, whichever worker wrote it.
    """

    context: ChunkContext[FineTune]

    def prepare(self) -> tuple[LabelledRows, int | None]:
        """The labels with their split, and the number of test rows from which the encoder has already learnt."""
        spec, runtime = self.context.spec, self.context.runtime
        data = labelled_rows(
            runtime.version(spec.dataset, spec.version),
            spec.label_column,
            label_separator=spec.options.label_separator,
            split=spec.split,
            open_version=runtime.version,
        )
        return measurable(data, spec.options.encoder, runtime.store)

    def compute(self, prepared: tuple[LabelledRows, int | None], held: HeldLease) -> FineTuneRecord:
        """Trains, and saves a checkpoint first if this worker must stop.

        If a worker died between publishing the model and committing the chunk, nothing is left to train.
        """
        models = Models(self.context.runtime.store.root)
        if models.has(self.context.job):
            from jdq.worker.finetune.model import read_fine_tune_record

            return read_fine_tune_record(models.path(self.context.job))
        record = self._train(models, *prepared, held)
        self._put_baselines(record, prepared[0], held)
        return record

    def publish(self, record: FineTuneRecord) -> Outcome:
        """The model is already published; its record is the result."""
        result: dict[str, Any] = {"model_id": self.context.job, **msgspec.to_builtins(record)}
        cost = fine_tune_cost(result)
        return Outcome(
            counts={name: cost[name] or 0 for name in ("computed", "tokens")},
            result={name: value for name, value in result.items() if name not in LONG_FIELDS},
        )

    def _train(self, models: Models, data: LabelledRows, learnt_rows: int | None, held: HeldLease) -> FineTuneRecord:
        from jdq.worker.finetune.errors import StopAfterCheckpoint
        from jdq.worker.finetune.finetune import finetune
        from jdq.worker.finetune.record import DataOrigin

        def report(progress: Progress) -> None:
            try:
                held.report(**_shown(progress))
            except Draining as stop:
                raise StopAfterCheckpoint from stop

        job, spec, runtime = self.context.job, self.context.spec, self.context.runtime
        checkpoints = runtime.job_files.folder(job) / CHECKPOINTS
        try:
            return finetune(
                data.texts(),
                data.labels,
                data.split,
                msgspec.structs.replace(spec.options, encoder=models.encoder(spec.options.encoder)),
                checkpoints_dir=checkpoints,
                output_dir=models.place(job),
                origin=DataOrigin(
                    dataset=spec.dataset,
                    dataset_version=spec.version,
                    label_column=data.column,
                    split=spec.split,
                    learnt_rows=learnt_rows,
                ),
                keys=data.keys,
                tested=lambda probabilities, thresholds: put_tested(
                    runtime.job_files,
                    job,
                    data,
                    probabilities,
                    label_separator=spec.options.label_separator,
                    thresholds=thresholds,
                ),
                learnt=None if learnt_rows is None else learnt_in(data, learnt_by(runtime.store, spec.options.encoder)),
                report=report,
                device=device_of(runtime.config, "gpu"),
            )
        except StopAfterCheckpoint as stop:
            # This worker is stopping, or makes room.
            raise stop.__cause__ or stop from None

    def _put_baselines(self, record: FineTuneRecord, data: LabelledRows, held: HeldLease) -> None:
        spec, files = self.context.spec, self.context.runtime.job_files
        put_baselines(
            files,
            spec.dataset,
            test_setting_of(msgspec.to_builtins(record)),
            data,
            spec.options.label_separator,
            lambda done, total: held.report(step=done, steps=total),
        )
        with contextlib.suppress(OSError):
            (files.folder(self.context.job) / CHECKPOINTS).rmdir()


def _shown(progress: Progress) -> dict[str, Any]:
    """The progress that users see."""
    return {
        "phase": progress.phase,
        "epoch": round(progress.epoch, 2),
        "epochs": progress.epochs,
        "step": progress.step,
        "steps": progress.steps,
        "loss": progress.loss,
        "eta_s": progress.eta_s,
    }
