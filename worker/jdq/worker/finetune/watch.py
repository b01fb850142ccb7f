"""The Trainer's callback: progress after every step, checkpoints at intervals and on request, and their manifests."""

import logging
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import rotate_checkpoints

from jdq.worker.finetune.batches import ByLength
from jdq.worker.finetune.checkpoints import PREFIX, Elapsed, write_manifest
from jdq.worker.finetune.errors import StopAfterCheckpoint
from jdq.worker.finetune.progress import Progress, Report
from jdq.worker.heads.options import BEST_BY

log = logging.getLogger(__name__)

# Lines about steps per training: a job keeps 2,000 lines of all kinds.
LOG_LINES = 100
KEPT = 2  # checkpoints: the newest, and the best or the previous one
_EVALUATED = {"eval_loss": "loss", "eval_accuracy": "accuracy", f"eval_{BEST_BY}": BEST_BY}


class Watch(TrainerCallback):
    """Reports progress and completes checkpoints; what `report` raises ends the training.

    elapsed: the time of earlier processes, up to the checkpoint from which this one resumes.
    """

    def __init__(self, report: Report, order: ByLength, *, every_s: float, elapsed: Elapsed) -> None:
        self._report = report
        self._order = order
        self._every_s = every_s
        self._resumed = elapsed.resumed
        self._started = time.perf_counter() - elapsed.training_time_s
        self._saved = time.perf_counter()
        self._first: tuple[int, float] | None = None
        self._loss: float | None = None
        self._next_line = 0.0  # the step from which on the next line is logged
        self._stopping: StopAfterCheckpoint | None = None

    @property
    def elapsed(self) -> Elapsed:
        """The time of all processes until now."""
        return Elapsed(training_time_s=time.perf_counter() - self._started, resumed=self._resumed)

    def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._order.epoch = int((state.epoch or 0.0) + 1e-6)

    def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        if self._first is None:
            self._first = (state.global_step, time.perf_counter())

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if "loss" not in (logs or {}):
            return
        self._loss = (logs or {})["loss"]
        if state.global_step >= self._next_line:
            self._next_line = state.global_step + state.max_steps / LOG_LINES
            log.info("step %d/%d, epoch %.2f, loss %.4g", state.global_step, state.max_steps, state.epoch, self._loss)

    def on_evaluate(
        self, _args: Any, state: Any, _control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        shown = [f"{name} {metrics[key]:.4g}" for key, name in _EVALUATED.items() if metrics and key in metrics]
        log.info("validation after epoch %.2f, step %d: %s", state.epoch, state.global_step, ", ".join(shown))

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        try:
            self._report(self._progress(state, "train"))
        except StopAfterCheckpoint as stop:
            self._stopping = stop
        due = self._stopping is not None or time.perf_counter() - self._saved > self._every_s
        # The last step of an epoch is saved after its evaluation, which a resumed training would not repeat.
        if due and state.global_step % (state.max_steps // int(state.num_train_epochs)):
            control.should_save = True

    def on_prediction_step(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        # A stop with a checkpoint waits for the next step; one without ends the evaluation, too.
        try:
            self._report(self._progress(state, "evaluate"))
        except StopAfterCheckpoint as stop:
            self._stopping = stop

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        write_manifest(Path(args.output_dir) / f"{PREFIX}{state.global_step}", self.elapsed)
        # Only now, because the Trainer would delete the last complete checkpoint while this one could still be lost.
        rotate_checkpoints(args.output_dir, KEPT, best_model_checkpoint=state.best_model_checkpoint)
        self._saved = time.perf_counter()
        if self._stopping is not None:
            raise self._stopping

    def _progress(self, state: Any, phase: str) -> Progress:
        return Progress(
            phase=phase,
            epoch=float(state.epoch or 0.0),
            epochs=int(state.num_train_epochs),
            step=state.global_step,
            steps=state.max_steps,
            loss=self._loss,
            eta_s=self._eta_s(state),
        )

    def _eta_s(self, state: Any) -> float | None:
        if self._first is None or state.global_step <= self._first[0]:
            return None
        step, since = self._first
        per_step = (time.perf_counter() - since) / (state.global_step - step)
        remaining: float = per_step * (state.max_steps - state.global_step)
        return remaining
