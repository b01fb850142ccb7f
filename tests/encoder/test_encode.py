"""Encoding reports its progress, and never returns a number that is none."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from jdq.worker.encoder.budget import TokenBudget
from jdq.worker.encoder.errors import NotFiniteFeatures, TokenizerMismatch, UnsupportedEncoder
from jdq.worker.encoder.loading import load_encoder
from tests.encoder.conftest import random_tokens


def test_every_pass_is_reported_and_may_be_the_last(tiny: Path) -> None:
    encoder = dataclasses.replace(load_encoder(str(tiny)), budget=TokenBudget(100))
    tokens = random_tokens([60, 50, 50, 10, 3])
    reported: list[tuple[int, int]] = []
    features = encoder.encode(tokens, after_batch=lambda texts, n: reported.append((texts, n)))
    assert features.dtype == np.float32
    assert reported == [(1, 60), (2, 100), (2, 13)]

    def stop(texts: int, n: int) -> None:
        raise InterruptedError(f"cancelled after {texts} texts, {n} tokens")

    with pytest.raises(InterruptedError, match="after 1 texts, 60 tokens"):
        encoder.encode(tokens, after_batch=stop)


def test_a_feature_that_is_not_finite_names_its_text(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "nan")
    tensors = load_file(folder / "model.safetensors")
    name = "shared.weight" if "shared.weight" in tensors else "encoder.embed_tokens.weight"
    tensors[name][77] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = load_encoder(str(folder))
    tokens = random_tokens([4, 4, 4, 4])
    tokens.ids[:] = 50
    tokens.ids[[5, 14]] = 77
    with pytest.raises(NotFiniteFeatures, match="positions 1, 3") as caught:
        encoder.encode(tokens)
    assert caught.value.positions == (1, 3)


def test_unknown_precisions_and_float8_on_a_cpu_are_refused(tiny: Path) -> None:
    with pytest.raises(UnsupportedEncoder, match="no precision 'float16'"):
        load_encoder(str(tiny), precision="float16")
    with pytest.raises(UnsupportedEncoder, match="float8 needs a CUDA device"):
        load_encoder(str(tiny), precision="float8")


def test_an_empty_text_without_special_tokens_is_named(tiny: Path) -> None:
    tokens = random_tokens([3, 4])
    empty = dataclasses.replace(tokens, lengths=np.array([3, 0]))
    with pytest.raises(TokenizerMismatch, match=r"^the tokenizer finds no token in the text at position 1$"):
        load_encoder(str(tiny)).encode(empty)
