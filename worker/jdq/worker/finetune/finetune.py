"""One fine-tune from texts and labels to a folder that predicts: tokenize, train, keep the best, measure."""

import hashlib
import platform
import shutil
import time
from collections.abc import Sequence
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
from jdq.worker.encoder.tokens import Tokens
from jdq.worker.finetune.batches import TokenRows
from jdq.worker.finetune.lora import merge_low_rank
from jdq.worker.finetune.model import default_device, predict_logits, save_fine_tuned
from jdq.worker.finetune.network import load_classifier, restrict
from jdq.worker.finetune.options import FineTuneOptions, check_options
from jdq.worker.finetune.progress import Report, no_report
from jdq.worker.finetune.record import RECORDED_PACKAGES, DataOrigin, FineTuneRecord
from jdq.worker.finetune.training import Trained, measure_logits, train
from jdq.worker.heads.errors import BadSplit
from jdq.worker.heads.intervals import bootstrap
from jdq.worker.heads.labels import Labels, Targets, read_targets
from jdq.worker.heads.predictors import apply_link
from jdq.worker.heads.split import TEST, TRAIN, VALIDATION, Split


def finetune(
    texts: Sequence[str],
    labels: Labels,
    split: Split,
    options: FineTuneOptions,
    *,
    checkpoints_dir: Path,
    output_dir: Path,
    origin: DataOrigin | None = None,
    report: Report = no_report,
    device: str | None = None,
) -> FineTuneRecord:
    """Trains on the split's train part, keeps the best epoch by the validation part, measures on the test part.

    Goes on by itself from the last whole checkpoint in `checkpoints_dir`, if one of the same options, texts and split
    is there; deletes the checkpoints when `output_dir` stands. One process, one device. Raises FineTuneError,
    EncoderError, HeadError (of labels and split), and what `report` raises.
    """
    started = time.perf_counter()
    check_options(options)
    device = device or default_device()
    targets = read_targets(labels, separator=options.separator)
    if not len(texts) == targets.rows == len(split.parts):
        raise BadSplit(f"{len(texts)} texts, {targets.rows} labels and a split of {len(split.parts)} rows")
    files = read_files(find_folder(options.encoder), max_length=options.max_length, precision="float32")
    tokens = files.tokenizer.tokenize(texts, files.identity.max_length)
    model = load_classifier(files.folder, targets.classes, multi_label=targets.multi_label, seed=options.seed)
    restrict(model, options)
    rows = _rows_of(tokens, targets, split)
    sitting = checkpoints_dir / _identity(options, split, tokens, targets, files)
    trained = train(
        model,
        rows[TRAIN],
        rows[VALIDATION],
        options=options,
        classes=targets.classes,
        pad_id=files.tokenizer.pad_id,
        folder=sitting,
        device=device,
        report=report,
    )
    merge_low_rank(model)
    measured = _measure(model, tokens, targets, split, pad_id=files.tokenizer.pad_id, device=device)
    record = FineTuneRecord(
        options=options,
        classes=targets.classes,
        multi_label=targets.multi_label,
        origin=origin or DataOrigin(),
        split_digest=split.digest,
        rows=split.counts(),
        **_identity_fields(files, tokens),
        **_training_fields(trained),
        **measured,
        device=_device_name(device),
        precision=_precision(device),
        wall_time_s=round(time.perf_counter() - started, 3),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version()} | {name: version(name) for name in RECORDED_PACKAGES},
        warnings=split.warnings,
    )
    save_fine_tuned(model, files.folder, record, output_dir)
    shutil.rmtree(sitting, ignore_errors=True)
    return record


def _rows_of(tokens: Tokens, targets: Targets, split: Split) -> dict[int, TokenRows]:
    values = targets.codes.astype(np.float32) if targets.multi_label else targets.codes
    validation = split.rows(VALIDATION)
    # By length, so that validation's batches hold little padding; its metrics do not depend on the order.
    validation = validation[np.argsort(tokens.lengths[validation], kind="stable")]
    return {TRAIN: TokenRows(tokens, values, split.rows(TRAIN)), VALIDATION: TokenRows(tokens, values, validation)}


def _identity(options: FineTuneOptions, split: Split, tokens: Tokens, targets: Targets, files: Files) -> str:
    """The name of all that a checkpoint depends on: what differs in anything starts from the beginning."""
    digest = hashlib.blake2b(digest_size=16)
    plan = msgspec.structs.replace(options, checkpoint_every_s=0.0)
    digest.update(msgspec.json.encode([plan, split.digest, files.identity.weights, list(targets.classes)]))
    for array in (tokens.ids, tokens.lengths, targets.codes):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _measure(model: Any, tokens: Tokens, targets: Targets, split: Split, *, pad_id: int, device: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    model.to(device)
    for name, part in (("metrics", TEST), ("validation_metrics", VALIDATION)):
        rows = split.rows(part)
        if len(rows):
            logits = predict_logits(model, _take(tokens, rows), pad_id=pad_id, device=device)
            found[name] = measure_logits(logits, targets.codes[rows], targets.classes)
            if part == TEST and not targets.multi_label:
                found["intervals"] = bootstrap(targets.codes[rows].astype(np.int64), apply_link(logits, "softmax"))
    return found


def _take(tokens: Tokens, rows: npt.NDArray[np.intp]) -> Tokens:
    ends = np.cumsum(tokens.lengths)
    spans = [tokens.ids[ends[row] - tokens.lengths[row] : ends[row]] for row in rows]
    return Tokens(
        ids=np.concatenate(spans),
        lengths=tokens.lengths[rows],
        n_tokens=tokens.n_tokens[rows],
        n_unknown=tokens.n_unknown[rows],
    )


def _identity_fields(files: Files, tokens: Tokens) -> dict[str, Any]:
    return {
        "max_length": files.identity.max_length,
        "n_cut": tokens.n_cut,
        "base_weights": files.identity.weights,
        "base_tokenizer": files.identity.tokenizer,
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


def _precision(device: str) -> str:
    return "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"
