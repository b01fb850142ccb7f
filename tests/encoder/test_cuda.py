"""On a GPU: the same features, to the precision that was asked for. Skipped where there is none."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import BartConfig, BartModel

from jdq.worker.encoder.loading import load_encoder
from tests.encoder.conftest import BART_SIZES, Reference, SaveModel, random_tokens

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
LENGTHS = [1, 2, 3, 7, 7, 64, 65, 129, 300, 777, 1024]


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def test_bfloat16_points_the_same_way_as_the_reference(tiny: Path, reference: Reference) -> None:
    tokens = random_tokens(LENGTHS)
    encoder = load_encoder(str(tiny), precision="bfloat16", device="cuda")
    assert cosine(encoder.encode(tokens), reference(tiny, tokens)) >= 0.9999


def test_float32_equals_the_reference(tiny: Path, reference: Reference) -> None:
    tokens = random_tokens(LENGTHS)
    encoder = load_encoder(str(tiny), precision="float32", device="cuda")
    assert np.abs(encoder.encode(tokens) - reference(tiny, tokens)).max() <= 1e-5


def test_float8_points_nearly_the_same_way(save_model: SaveModel, reference: Reference) -> None:
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this GPU has no float8 products")
    tokens = random_tokens(LENGTHS)
    folder = save_model(BartModel(BartConfig(**BART_SIZES)))
    encoder = load_encoder(str(folder), precision="float8", device="cuda")
    assert cosine(encoder.encode(tokens), reference(folder, tokens)) >= 0.999


def test_a_text_does_not_depend_on_its_batch(tiny: Path) -> None:
    encoder = load_encoder(str(tiny), precision="bfloat16", device="cuda")
    tokens = random_tokens([50] * 40)
    tokens.ids[:] = np.tile(tokens.ids[:50], 40)
    features = encoder.encode(tokens)
    assert np.abs(features - features[0]).max() <= 2e-2
