"""A fine-tuned model on disk: a plain Hugging Face folder with jdq.json beside the weights."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jdq.store.files.digests import UnreadableFile, array_pieces, check_folder, read_json, to_json, write_manifest
from jdq.store.files.publish import sync
from jdq.store.trained import LEARNT
from jdq.worker.encoder.encoder import AfterBatch
from jdq.worker.encoder.errors import EncoderError
from jdq.worker.encoder.folder import PATTERNS
from jdq.worker.encoder.options import automatic_precision
from jdq.worker.encoder.quiet import quiet_transformers
from jdq.worker.encoder.tokens import TextTokenizer, Tokens, load_tokenizer
from jdq.worker.finetune.batches import padded
from jdq.worker.finetune.errors import DamagedModel
from jdq.worker.finetune.flush import flush_files
from jdq.worker.finetune.network import forward_logits, load_classifier
from jdq.worker.finetune.record import RECORD, FineTuneRecord
from jdq.worker.heads.decision import predicted_labels
from jdq.worker.heads.predictors import Float32, apply_link, link_of

BATCH_TOKENS = 8192
WEIGHT_FILES = ("config.json", "model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FineTuned:
    """A fine-tuned model in memory, ready to predict."""

    network: Any
    tokenizer: TextTokenizer
    record: FineTuneRecord
    device: str

    @property
    def classes(self) -> tuple[str, ...]:
        return self.record.classes

    def predict_proba(self, texts: Sequence[str]) -> Float32:
        """(texts, classes) in the order of the texts."""
        return self.proba_of_tokens(self.tokenizer.tokenize(texts, self.record.max_length))

    def proba_of_tokens(self, tokens: Tokens, *, after_batch: AfterBatch | None = None) -> Float32:
        """The same for tokenized texts. after_batch: may raise to stop."""
        pad_id = self.tokenizer.pad_id
        logits = predict_logits(self.network, tokens, pad_id=pad_id, device=self.device, after_batch=after_batch)
        return apply_link(logits, link_of(multi_label=self.record.multi_label))

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The label of each text, as `predicted_labels` chooses it."""
        return predicted_labels(
            self.predict_proba(texts),
            self.classes,
            multi_label=self.record.multi_label,
            label_separator=self.record.options.label_separator,
            thresholds=self.record.thresholds,
        )


def load_fine_tuned(folder: Path, *, device: str) -> FineTuned:
    """The model of a folder that `finetune` or an export wrote. Raises DamagedModel."""
    record = read_fine_tune_record(folder)
    try:
        check_folder(folder)
        network = load_classifier(folder, record.classes, multi_label=record.multi_label, seed=0)
        tokenizer = load_tokenizer(folder)
    except (EncoderError, UnreadableFile) as error:
        raise DamagedModel(str(error)) from error
    return FineTuned(network=network.eval().to(device), tokenizer=tokenizer, record=record, device=device)


def read_fine_tune_record(folder: Path) -> FineTuneRecord:
    """What made the model of a folder. Raises DamagedModel."""
    try:
        return read_json(folder / RECORD, FineTuneRecord)
    except FileNotFoundError as error:
        raise DamagedModel(f"{folder} has no {RECORD}: jdq did not fine-tune this model") from error
    except UnreadableFile as error:
        raise DamagedModel(f"{folder / RECORD} cannot be read: {error.fact}") from error


def predict_logits(
    network: Any, tokens: Tokens, *, pad_id: int, device: str, after_batch: AfterBatch | None = None
) -> npt.NDArray[np.float32]:
    """(texts, classes) float32, in the order of `tokens`; computed longest first, in batches of bounded size."""
    network.eval()
    ends = np.cumsum(tokens.lengths)
    order = np.argsort(-tokens.lengths, kind="stable")
    logits = np.empty((len(tokens), network.config.num_labels), dtype=np.float32)
    start = 0
    in_bfloat16 = automatic_precision(device) == "bfloat16"
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=in_bfloat16):
        while start < len(order):
            rows = order[start : start + max(1, BATCH_TOKENS // int(tokens.lengths[order[start]]))]
            ids, mask = padded([tokens.ids[ends[r] - tokens.lengths[r] : ends[r]] for r in rows], pad_id)
            inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
            logits[rows] = forward_logits(network, inputs).cpu().numpy()
            start += len(rows)
            if after_batch is not None:
                after_batch(len(rows), int(tokens.lengths[rows].sum()))
    return logits


def save_fine_tuned(
    network: Any,
    tokenizer_folder: Path,
    record: FineTuneRecord,
    output: Path,
    *,
    learnt: npt.NDArray[np.uint64] | None = None,
) -> None:
    """Writes the folder under another name, flushes it, and renames it: it appears complete or not at all.

    learnt: the texts that the network has learnt from, by the first 8 bytes of their keys, ascending.
    A folder that already exists, from an earlier attempt that got this far, is kept.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with quiet_transformers():
        network.save_pretrained(partial)
    _copy_tokenizer(tokenizer_folder, partial)
    (partial / RECORD).write_bytes(to_json(record))
    if learnt is not None:
        (partial / LEARNT).write_bytes(b"".join(array_pieces(learnt)))
    write_manifest(partial)
    for path in partial.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, which another user's worker could not read
    flush_files(partial)
    try:
        partial.rename(output)
    except OSError:
        read_fine_tune_record(output)  # raises if what is there is not such a model
        shutil.rmtree(partial)
    sync(output.parent)


def _copy_tokenizer(source: Path, target: Path) -> None:
    """The tokenizer's own files as they are, because saving it again could change how it splits words."""
    for pattern in PATTERNS:
        for path in source.glob(pattern):
            if path.name not in WEIGHT_FILES and path.suffix != ".safetensors":
                shutil.copyfile(path, target / path.name)
