"""One fine-tune from texts and labels to a folder that predicts: tokenize, train, keep the best, measure."""

import hashlib
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from jdq.worker.encoder.folder import find_folder
from jdq.worker.encoder.identity import Files, read_files
from jdq.worker.encoder.options import automatic_precision
from jdq.worker.encoder.tokens import Tokens
from jdq.worker.finetune.batches import TokenRows
from jdq.worker.finetune.errors import BadOption
from jdq.worker.finetune.lora import merge_low_rank
from jdq.worker.finetune.model import predict_logits, read_fine_tune_record, save_fine_tuned
from jdq.worker.finetune.network import load_classifier, restrict
from jdq.worker.finetune.options import FineTuneOptions, check_options
from jdq.worker.finetune.progress import Report, no_report
from jdq.worker.finetune.record import RECORDED_PACKAGES, DataOrigin, FineTuneRecord
from jdq.worker.finetune.training import Trained, train
from jdq.worker.heads.conformal import choose_certainty
from jdq.worker.heads.decision import best_thresholds
from jdq.worker.heads.errors import BadSplit
from jdq.worker.heads.fitted import row_keys
from jdq.worker.heads.intervals import bootstrap
from jdq.worker.heads.labels import Labels, Targets, read_targets
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.predictors import Float32, apply_link, link_of
from jdq.worker.heads.split import TEST, TRAIN, VALIDATION, Split

# Called with the probabilities of the test rows, (rows, classes), and the thresholds of label sets.
OnTested = Callable[[Float32, Sequence[float]], None]


def _ignore(_probabilities: Float32, _thresholds: Sequence[float]) -> None:
    """Discards the probabilities."""


def finetune(
    texts: Sequence[str],
    labels: Labels,
    split: Split,
    options: FineTuneOptions,
    *,
    checkpoints_dir: Path,
    output_dir: Path,
    origin: DataOrigin | None = None,
    keys: npt.NDArray[np.uint8] | None = None,
    learnt: npt.NDArray[np.uint64] | None = None,
    tested: OnTested = _ignore,
    device: str,
    report: Report = no_report,
) -> FineTuneRecord:
    """Trains on the split's train part, keeps the best epoch by the validation part, measures on the test part.

    Resumes from the last complete checkpoint in `checkpoints_dir` that is of the same options, texts and split, and
    deletes the checkpoints once `output_dir` is written. A model with the same options and split that already exists is
    the result. One process, one device. keys: (rows, 16) text keys, by which intervals know equal texts. learnt: what
    the model's folder says that the network has learnt from; None if that is not known. Raises FineTuneError,
    EncoderError, HeadError (of labels and split), and what `report` raises.
    """
    started = time.perf_counter()
    check_options(options)
    if output_dir.exists():
        return _finished(output_dir, options, split)
    task = _prepare(texts, labels, split, options, device, keys)
    checkpoint_dir = checkpoints_dir / _identity(task)
    trained = train(
        task.model,
        task.train_rows,
        task.validation_rows,
        options=options,
        classes=task.targets.classes,
        pad_id=task.files.tokenizer.pad_id,
        folder=checkpoint_dir,
        device=task.device,
        report=report,
    )
    merge_low_rank(task.model)
    record = _record(task, trained, tested, origin, started)
    save_fine_tuned(task.model, task.files.folder, record, output_dir, learnt=learnt)
    shutil.rmtree(checkpoint_dir, ignore_errors=True)
    return record


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Task:
    """What one fine-tune works with."""

    options: FineTuneOptions
    split: Split
    targets: Targets
    files: Files
    tokens: Tokens
    model: Any
    device: str
    keys: npt.NDArray[np.uint8] | None

    @property
    def train_rows(self) -> TokenRows:
        return TokenRows(self.tokens, self._values, self.split.rows(TRAIN))

    @property
    def validation_rows(self) -> TokenRows:
        """Sorted by length, so that batches hold little padding; the metrics do not depend on the order."""
        rows = self.split.rows(VALIDATION)
        return TokenRows(self.tokens, self._values, rows[np.argsort(self.tokens.lengths[rows], kind="stable")])

    @property
    def _values(self) -> npt.NDArray[Any]:
        return self.targets.codes.astype(np.float32) if self.targets.multi_label else self.targets.codes


def _finished(output_dir: Path, options: FineTuneOptions, split: Split) -> FineTuneRecord:
    """The record of an earlier attempt that wrote its model. Raises BadOption if it is another fine-tune's."""
    record = read_fine_tune_record(output_dir)
    if record.options != options or record.split_digest != split.digest:
        raise BadOption(f"{output_dir} holds another fine-tune, made {record.created_at}\n  try: another folder")
    return record


def _prepare(
    texts: Sequence[str],
    labels: Labels,
    split: Split,
    options: FineTuneOptions,
    device: str,
    keys: npt.NDArray[np.uint8] | None,
) -> _Task:
    targets = read_targets(labels, label_separator=options.label_separator)
    if not len(texts) == targets.rows == len(split.parts):
        raise BadSplit(f"{len(texts)} texts, {targets.rows} labels and a split of {len(split.parts)} rows")
    files = read_files(find_folder(options.encoder), max_length=options.max_length, precision="float32")
    model = load_classifier(files.folder, targets.classes, multi_label=targets.multi_label, seed=options.seed)
    restrict(model, options)
    return _Task(
        options=options,
        split=split,
        targets=targets,
        files=files,
        tokens=files.tokenizer.tokenize(texts, files.identity.max_length),
        model=model,
        device=device,
        keys=keys,
    )


def _identity(task: _Task) -> str:
    """A digest of everything that a checkpoint depends on; after any change, training starts from the beginning."""
    digest = hashlib.blake2b(digest_size=16)
    plan = msgspec.structs.replace(task.options, checkpoint_every_s=0.0)
    named = [plan, task.split.digest, task.files.identity.weights, list(task.targets.classes)]
    digest.update(msgspec.json.encode(named))
    for array in (task.tokens.ids, task.tokens.lengths, task.targets.codes):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _record(
    task: _Task, trained: Trained, tested: OnTested, origin: DataOrigin | None, started: float
) -> FineTuneRecord:
    return FineTuneRecord(
        **_task_fields(task),
        **_training_fields(trained),
        **_measure(task, tested),
        origin=origin or DataOrigin(),
        wall_time_s=round(time.perf_counter() - started, 3),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version()} | {name: version(name) for name in RECORDED_PACKAGES},
    )


def _measure(task: _Task, tested: OnTested) -> dict[str, Any]:
    """The record's metrics; label sets are chosen by thresholds from the validation part."""
    targets, classes = task.targets, task.targets.classes
    task.model.to(task.device)
    test, validation = task.split.rows(TEST), task.split.rows(VALIDATION)
    measured: dict[str, Any] = {"thresholds": ()}
    if len(validation):
        probabilities, true = _probabilities(task, validation), targets.codes[validation]
        if targets.multi_label:
            measured["thresholds"] = best_thresholds(true.astype(bool), probabilities)
        keys = row_keys(targets.rows) if task.keys is None else task.keys
        measured["certainty"] = choose_certainty(true, probabilities, keys[validation], measured["thresholds"])
        measured["validation_metrics"] = metrics_of(true, probabilities, classes, measured["thresholds"])
    probabilities, thresholds = _probabilities(task, test), measured["thresholds"]
    tested(probabilities, thresholds)
    measured["metrics"] = metrics_of(targets.codes[test], probabilities, classes, thresholds)
    measured["intervals"] = bootstrap(
        targets.codes[test],
        probabilities,
        keys=None if task.keys is None else task.keys[test],
        thresholds=thresholds,
    )
    return measured


def _probabilities(task: _Task, rows: npt.NDArray[np.intp]) -> Float32:
    tokens, pad_id = _take(task.tokens, rows), task.files.tokenizer.pad_id
    logits = predict_logits(task.model, tokens, pad_id=pad_id, device=task.device)
    return apply_link(logits, link_of(multi_label=task.targets.multi_label))


def _take(tokens: Tokens, rows: npt.NDArray[np.intp]) -> Tokens:
    ends = np.cumsum(tokens.lengths)
    spans = [tokens.ids[ends[row] - tokens.lengths[row] : ends[row]] for row in rows]
    return Tokens(
        ids=np.concatenate(spans),
        lengths=tokens.lengths[rows],
        n_tokens=tokens.n_tokens[rows],
        n_unknown=tokens.n_unknown[rows],
    )


def _task_fields(task: _Task) -> dict[str, Any]:
    return {
        "options": task.options,
        "classes": task.targets.classes,
        "multi_label": task.targets.multi_label,
        "split_digest": task.split.digest,
        "rows": task.split.counts(),
        "warnings": task.split.warnings,
        "max_length": task.files.identity.max_length,
        "n_truncated": task.tokens.n_truncated,
        "train_tokens": int(task.train_rows.lengths.sum()),
        "base_weights": task.files.identity.weights,
        "base_tokenizer": task.files.identity.tokenizer,
        "device": _device_name(task.device),
        "precision": automatic_precision(task.device),
    }


def _training_fields(trained: Trained) -> dict[str, Any]:
    return {
        "best_step": trained.best_step,
        "steps": trained.steps,
        "resumed": trained.resumed,
        "training_time_s": round(trained.training_time_s, 3),
        "history": trained.history,
        "step_losses": trained.step_losses,
    }


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
