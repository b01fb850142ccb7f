"""8-bit precisions are loaded where their features are close enough to those of the precision that they replace."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from jdq.worker.encoder import loading
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.identity import read_files
from jdq.worker.encoder.loading import least_cosine
from jdq.worker.encoder.packed import PackedBart
from jdq.worker.encoder.structure import read_structure
from jdq.worker.encoder.tiny import make_tiny_bart


def packed_of(folder: Path, precision: str) -> PackedBart:
    """The packed network by itself."""
    structure = read_structure(folder)
    assert structure.shape is not None
    tensors = structure.tensors
    return PackedBart(structure.shape, lambda n: tensors[n].load(), precision=precision, device="cpu", rows=512)


@pytest.mark.parametrize(
    ("cosines", "precision", "all_in_float8"),
    [([0.9995], "float8", [True]), ([0.9985, 0.9995], "float8", [True, False]), ([0.9995], "int8", [True])],
)
def test_the_fastest_network_that_is_close_enough_is_loaded(
    cosines: list[float], precision: str, all_in_float8: list[bool], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []

    def network(files: object, device: str, asked: str, *, all_in_float8: bool = True) -> str:
        if asked == precision:
            made.append(all_in_float8)
        return asked

    monkeypatch.setattr(loading, "_network", network)
    monkeypatch.setattr(loading, "check_device", lambda files, device: None)
    monkeypatch.setattr(loading, "least_cosine", lambda found, expected, files: cosines[len(made) - 1])
    files = read_files(tiny, max_length=None, precision=precision)
    assert loading.build_encoder(files, device="cpu").identity.precision == precision
    assert made == all_in_float8


@pytest.mark.parametrize(("precision", "reference"), [("float8", "bfloat16"), ("int8", "float32")])
@pytest.mark.parametrize("cosine", [0.9985, float("nan")])
def test_8_bit_precisions_are_refused_where_they_turn_the_features(
    cosine: float, precision: str, reference: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "check_device", lambda files, device: None)
    monkeypatch.setattr(loading, "least_cosine", lambda found, expected, files: cosine)
    files = read_files(tiny, max_length=None, precision=precision)
    message = rf"(?s)in {precision} this .* cosine of only {cosine:.4f} .*in {reference}.*try: --precision {reference}"
    with pytest.raises(UnsupportedEncoder, match=message):
        loading.build_encoder(files, device="cpu")


def test_the_cosine_is_the_least_of_all_texts_and_nan_where_a_feature_is(tiny: Path, tmp_path: Path) -> None:
    other = make_tiny_bart(tmp_path / "other", dim=64, layers=3, seed=9)
    files = read_files(tiny, max_length=None, precision="float32")
    network = packed_of(tiny, "float32")
    assert least_cosine(network, packed_of(tiny, "bfloat16"), files) > 0.999
    assert least_cosine(network, packed_of(other, "float32"), files) < 0.9
    broken = packed_of(tiny, "float32")
    broken._tokens[0] = float("nan")  # <s>, which begins every text but the random words
    assert math.isnan(least_cosine(network, broken, files))
