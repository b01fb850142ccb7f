"""The time per training step: jdq's fine-tune compared with the script of every tutorial. See heads.py."""

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = 160
WORDS = "nurse cook driver engineer we look for a night shift and good tools"


def compare_steps(rounds: int) -> Iterator[tuple[str, list[float], list[float]]]:
    """(kind of texts, jdq's seconds per step, the plain script's): one value per round, taken in turns."""
    from jdq.worker.encoder.tiny import make_tiny_bart

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        encoder = make_tiny_bart(Path(folder) / "bart", dim=128, layers=2)
        for name, texts in (("equal lengths", texts_of(60, 60)), ("mixed lengths", texts_of(5, 180))):
            labels = [f"class {i % 3}" for i in range(len(texts))]
            ours, theirs = [], []
            for number in range(rounds):
                theirs.append(plain_step_s(encoder, texts, labels, Path(folder) / f"plain-{name}-{number}"))
                ours.append(jdq_step_s(encoder, texts, labels, Path(folder) / f"jdq-{name}-{number}"))
            yield name, ours, theirs


def texts_of(shortest: int, longest: int) -> list[str]:
    """Texts of that many words; log-normal lengths between the two, like those of job postings."""
    rng = np.random.default_rng(0)
    spread = np.exp(rng.normal(size=TEXTS) * 0.8 + np.log((shortest * longest) ** 0.5))
    words = WORDS.split()
    return [" ".join(rng.choice(words, n)) for n in np.clip(spread, shortest, longest).astype(int)]


def step_s(times: list[float]) -> float:
    """The mean time between the ends of two steps: the first step, which warms up, is left out."""
    return (times[-1] - times[0]) / (len(times) - 1)


def plain_step_s(encoder: Path, texts: list[str], labels: list[str], folder: Path) -> float:
    """The script of every tutorial: the Trainer with its defaults, batches padded to their longest."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    classes = sorted(set(labels))
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(classes))
    encoded = tokenizer(texts, truncation=True, max_length=512)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": classes.index(label)}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)
    ]
    arguments = TrainingArguments(
        str(folder), num_train_epochs=1, use_cpu=not torch.cuda.is_available(), report_to="none", disable_tqdm=True,
        save_strategy="no",
    )  # fmt: skip
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    collate = DataCollatorWithPadding(tokenizer)
    Trainer(model, arguments, data_collator=collate, train_dataset=rows, callbacks=[Clock()]).train()
    return step_s(times)


def jdq_step_s(encoder: Path, texts: list[str], labels: list[str], folder: Path) -> float:
    """Seconds per step of `finetune` on the same texts; no validation part, so no evaluation."""
    import torch

    from jdq.worker.finetune.finetune import finetune
    from jdq.worker.finetune.options import FineTuneOptions
    from jdq.worker.heads.split import TRAIN, Split

    # The same number of train rows as the plain script: the test row is an extra one.
    parts = np.full(len(texts) + 1, TRAIN, dtype=np.uint8)
    parts[-1] = 2
    split = Split(parts=parts, seed=0, test=0.0, validation=0.0, distinct_texts=len(parts), warnings=())
    options = FineTuneOptions(encoder=str(encoder), epochs=1, batch_size=8, max_length=512)
    times: list[float] = []
    finetune(
        [*texts, "a test"], [*labels, labels[0]], split, options, checkpoints_dir=folder / "c", output_dir=folder / "m",
        device="cuda" if torch.cuda.is_available() else "cpu", report=lambda _: times.append(time.perf_counter()),
    )  # fmt: skip
    return step_s(times)
