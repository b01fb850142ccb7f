"""Small models of many kinds, and the reference: Hugging Face's own encoder, one text at a time, without padding."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.encoder.tokens import Tokens

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton's kernels are imported
VOCABULARY = 4_000
BART_SIZES = {
    "d_model": 64,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": VOCABULARY,
}

Reference = Callable[[Path, Tokens], npt.NDArray[np.float32]]
SaveModel = Callable[..., Path]


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BART: read it, do not change it."""
    return make_tiny_bart(tmp_path_factory.mktemp("tiny-bart"), dim=64, layers=3)


@pytest.fixture
def save_model(tmp_path: Path, tiny: Path) -> SaveModel:
    """Saves a network of 4,000 words with the tiny BART's tokenizer beside it; returns the folder."""

    def save(network: Any, name: str = "model", **options: Any) -> Path:
        folder = tmp_path / name
        network.save_pretrained(folder, **options)
        AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def reference() -> Reference:
    """Features by Hugging Face's encoder, each text alone."""

    def features(folder: Path, tokens: Tokens) -> npt.NDArray[np.float32]:
        network = AutoModel.from_pretrained(folder, dtype=torch.float32)
        encoder = (network.get_encoder() if network.config.is_encoder_decoder else network).eval()
        rows, start = [], 0
        with torch.inference_mode():
            for length in tokens.lengths.tolist():
                ids = torch.from_numpy(tokens.ids[start : start + length].astype(np.int64))[None]
                mask = torch.ones_like(ids)
                rows.append(encoder(input_ids=ids, attention_mask=mask).last_hidden_state[0, 0].numpy())
                start += length
        return np.stack(rows)

    return features


def random_tokens(lengths: list[int], *, seed: int = 0, vocabulary: int = VOCABULARY) -> Tokens:
    """Texts of these lengths in tokens, <s> and </s> included, of random words."""
    draw = np.random.default_rng(seed)
    texts = [
        np.array([0, *draw.integers(4, vocabulary - 1, max(0, n - 2)), 2][:n], dtype=np.int32)
        for n in map(int, lengths)
    ]
    n_tokens = np.array(lengths, dtype=np.uint32)
    return Tokens(
        ids=np.concatenate(texts),
        lengths=n_tokens.astype(np.int64),
        n_tokens=n_tokens,
        n_unknown=np.zeros_like(n_tokens),
    )
