"""Hugging Face's Trainer with jdq's batches, metrics and checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments

from jdq.worker.encoder.options import automatic_precision
from jdq.worker.encoder.quiet import quiet_transformers
from jdq.worker.finetune.batches import ByLength, Collate, TokenRows
from jdq.worker.finetune.checkpoints import Elapsed, last_complete, read_manifest
from jdq.worker.finetune.errors import TooLittleMemory
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.finetune.progress import Report
from jdq.worker.finetune.watch import Watch
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.options import BEST_BY
from jdq.worker.heads.predictors import apply_link, link_of

FINE_LOGGING_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What a training reports about itself. history: one entry per epoch."""

    best_step: int
    steps: int
    resumed: int
    training_time_s: float
    history: list[dict[str, float]]
    step_losses: list[tuple[int, float]]


class _ByLengthTrainer(Trainer):
    """The Trainer with a sampler whose order is not part of a checkpoint."""

    order: ByLength

    def _get_train_sampler(self, _train_dataset: Any = None) -> Sampler[int]:
        return self.order


def train(
    model: Any,
    train_rows: TokenRows,
    validation_rows: TokenRows,
    *,
    options: FineTuneOptions,
    classes: tuple[str, ...],
    pad_id: int,
    folder: Path,
    device: str,
    report: Report,
) -> Trained:
    """Trains `model` in place, from the last complete checkpoint in `folder` on; the result is the best epoch's.

    Without validation rows it is the last epoch's. Raises TooLittleMemory, and whatever `report` raises.
    """
    checkpoint = last_complete(folder)
    elapsed = _resumed(checkpoint) if checkpoint else Elapsed(training_time_s=0.0, resumed=0)
    order = ByLength(train_rows.lengths, options.batch_size, options.seed)
    watch = Watch(report, order, every_s=options.checkpoint_every_s, elapsed=elapsed)
    trainer = _ByLengthTrainer(
        model=model,
        args=_arguments(options, folder, device, rows=len(train_rows), validated=len(validation_rows) > 0),
        train_dataset=train_rows,
        eval_dataset=validation_rows if len(validation_rows) else None,
        data_collator=Collate(pad_id),
        compute_metrics=_metrics(classes),
        preprocess_logits_for_metrics=_logits_only,
        callbacks=_callbacks(watch, options, validated=len(validation_rows) > 0),
    )
    trainer.order = order
    trainer.remove_callback(PrinterCallback)
    try:
        with quiet_transformers():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise TooLittleMemory(
            f"a batch of {options.batch_size} texts does not fit into the memory of {device}\n"
            f"  try: --batch-size {max(1, options.batch_size // 2)}, a smaller --max-length, or --freeze encoder"
        ) from error
    return _summary(trainer.state, watch.elapsed)


def _resumed(checkpoint: Path) -> Elapsed:
    elapsed = read_manifest(checkpoint).elapsed
    return msgspec.structs.replace(elapsed, resumed=elapsed.resumed + 1)


def _callbacks(watch: Watch, options: FineTuneOptions, *, validated: bool) -> list[Any]:
    if options.early_stopping is None or not validated:
        return [watch]
    return [watch, EarlyStoppingCallback(early_stopping_patience=options.early_stopping)]


def _arguments(options: FineTuneOptions, folder: Path, device: str, *, rows: int, validated: bool) -> Any:
    steps = -(-rows // options.batch_size) * options.epochs
    on_cuda = device.startswith("cuda")
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=2 * options.batch_size,
        weight_decay=options.weight_decay,
        warmup_steps=int(options.warmup * steps),
        seed=options.seed,
        bf16=automatic_precision(device) == "bfloat16",
        use_cpu=not on_cuda,
        dataloader_pin_memory=on_cuda,
        eval_strategy="epoch" if validated else "no",
        save_strategy="epoch",
        load_best_model_at_end=validated,
        metric_for_best_model=BEST_BY if validated else None,
        greater_is_better=True if validated else None,
        restore_callback_states_from_checkpoint=True,
        logging_steps=1 if steps <= FINE_LOGGING_STEPS else 10,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        log_level="error",
    )


def _logits_only(logits: Any, _labels: Any) -> Any:
    # BART also returns its encoder's states, which would fill the memory if they were kept for every row.
    return logits[0] if isinstance(logits, tuple) else logits


def _metrics(classes: tuple[str, ...]) -> Any:
    def compute(prediction: Any) -> dict[str, float]:
        logits, targets = np.asarray(prediction.predictions, dtype=np.float32), np.asarray(prediction.label_ids)
        metrics = measure_logits(logits, targets, classes)
        return {name: value for name, value in metrics.items() if isinstance(value, float)}

    return compute


def measure_logits(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[Any], classes: tuple[str, ...]
) -> dict[str, Any]:
    """The heads' own metrics, of (rows,) class numbers or (rows, classes) sets."""
    multi_label = targets.ndim == 2
    true = targets.astype(bool if multi_label else np.int64)
    return metrics_of(true, apply_link(logits, link_of(multi_label=multi_label)), classes)


def _summary(state: Any, elapsed: Elapsed) -> Trained:
    losses = [(int(entry["step"]), float(entry["loss"])) for entry in state.log_history if "loss" in entry]
    epochs = [
        {"epoch": float(entry["epoch"]), "step": float(entry["step"])}
        | {"validation_" + name.removeprefix("eval_"): float(entry[name]) for name in _KEPT if name in entry}
        for entry in state.log_history
        if "eval_loss" in entry
    ]
    return Trained(
        best_step=int(state.best_global_step or state.global_step),
        steps=int(state.global_step),
        resumed=elapsed.resumed,
        training_time_s=elapsed.training_time_s,
        history=epochs,
        step_losses=losses,
    )


_KEPT = ("eval_loss", "eval_accuracy", f"eval_{BEST_BY}")
