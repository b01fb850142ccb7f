"""A tiny BART and texts whose label is one of their words."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.finetune.finetune import finetune
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.finetune.record import FineTuneRecord
from jdq.worker.heads.split import Split, make_split

TOPICS = {"cook": "kitchen menu chef", "nurse": "patient ward clinic", "driver": "truck route delivery"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A labelled dataset, its split, and a tiny network to train."""

    encoder: Path
    texts: list[str]
    labels: list[str]
    split: Split

    def run(self, folder: Path, *, report: Callable[[Any], None] = lambda _: None, **options: Any) -> FineTuneRecord:
        asked = {"epochs": 2, "learning_rate": 2e-3, "batch_size": 8, "warmup": 0.0, "max_length": 48} | options
        return finetune(
            self.texts,
            self.labels,
            self.split,
            FineTuneOptions(encoder=str(self.encoder), **asked),
            checkpoints_dir=folder / "checkpoints",
            output_dir=folder / "model",
            report=report,
            device="cpu",
        )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Any:
    """The test machine's cores are shared, and so small a network is slower on many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bart(tmp_path_factory.mktemp("encoder") / "tiny", dim=32, layers=1)


@pytest.fixture(scope="session")
def case(encoder: Path) -> Case:
    rng = np.random.default_rng(0)
    labels = [list(TOPICS)[i % 3] for i in range(72)]
    filler = [
        "we",
        "look",
        "for",
        "a",
        "person",
        "who",
        "likes",
        "to",
        "work",
        "with",
        "us",
        "every",
        "day",
        "and",
        "more",
    ]
    texts = []
    for i, label in enumerate(labels):
        words = [*TOPICS[label].split(), *rng.choice(filler, int(rng.integers(2, 20)))]
        texts.append(f"{i} " + " ".join(rng.permutation(words)))
    keys = rng.integers(0, 256, (72, 16)).astype(np.uint8)
    return Case(encoder=encoder, texts=texts, labels=labels, split=make_split(labels, keys))
