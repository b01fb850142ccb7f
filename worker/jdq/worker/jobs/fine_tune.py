"""The whole network trained on a dataset version: one chunk, however long it takes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from jdq.store.trained import Models
from jdq.worker.jobs.labelled import labelled_rows
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import Draining, Pulse
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import FineTune
from jdq.worker.queue.ledger import Outcome

if TYPE_CHECKING:
    from jdq.worker.finetune.progress import Progress
    from jdq.worker.finetune.record import FineTuneRecord

CHECKPOINTS = "checkpoints"
# In the model's own file; too long for the ledger.
LONG_FIELDS = ("history", "step_losses")


class FineTuneWork:
    """Trains under `runs/<job>/checkpoints`, and publishes the model as `models/<job>`.

    A chunk that is taken again goes on from the last whole checkpoint, whoever wrote it.
    """

    def __init__(self, job: str, spec: FineTune, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._runtime = runtime
        self._models = Models(runtime.store.root)

    def prepare(self, pulse: Pulse) -> None:
        """Reads the texts, the labels and the split."""
        version = self._runtime.version(self._spec.dataset, self._spec.version)
        self._data = labelled_rows(version, self._spec.label_column, label_separator=self._spec.options.label_separator)
        self._texts = version.texts(self._data.rows)

    def compute(self, pulse: Pulse) -> None:
        """Trains, and saves a checkpoint first when this worker is to stop.

        A worker that died between publishing the model and saying so leaves nothing to train.
        """
        if self._models.has(self._job):
            from jdq.worker.finetune.model import read_fine_tune_record

            self._record = read_fine_tune_record(self._models.path(self._job))
            return
        self._record = self._train(pulse)

    def publish(self, pulse: Pulse) -> Outcome:
        """The model stands; what made it is the result."""
        result: dict[str, Any] = {"model_id": self._job, **msgspec.to_builtins(self._record)}
        return Outcome(result={name: value for name, value in result.items() if name not in LONG_FIELDS})

    def _train(self, pulse: Pulse) -> FineTuneRecord:
        from jdq.worker.finetune.errors import StopAfterCheckpoint
        from jdq.worker.finetune.finetune import finetune
        from jdq.worker.finetune.record import DataOrigin

        def report(progress: Progress) -> None:
            try:
                pulse.report(**_shown(progress))
            except Draining as stop:
                raise StopAfterCheckpoint from stop

        encoder = self._models.encoder(self._spec.options.encoder)
        checkpoints = self._runtime.runs.folder(self._job) / CHECKPOINTS
        try:
            record = finetune(
                self._texts,
                self._data.labels,
                self._data.split,
                msgspec.structs.replace(self._spec.options, encoder=encoder),
                checkpoints_dir=checkpoints,
                output_dir=self._models.place(self._job),
                origin=DataOrigin(
                    dataset=self._spec.dataset, dataset_version=self._spec.version, label_column=self._data.column
                ),
                report=report,
                device=device_of(self._runtime.config, "gpu"),
            )
        except StopAfterCheckpoint as stop:
            raise Draining(self._job) from stop
        with contextlib.suppress(OSError):
            checkpoints.rmdir()
        return record


def _shown(progress: Progress) -> dict[str, Any]:
    """What those who watch see."""
    return {
        "phase": progress.phase,
        "epoch": round(progress.epoch, 2),
        "epochs": progress.epochs,
        "step": progress.step,
        "steps": progress.steps,
        "loss": progress.loss,
        "eta_s": progress.eta_s,
    }
