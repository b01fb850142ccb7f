"""A name and its options reach the encoder that they are for, of either kind."""

from pathlib import Path

import pytest

from jdq.worker.encoder.by_name import fastest_precision, load, poolings_of, precision_of, space_of
from jdq.worker.encoder.hashing import HashEncoder
from jdq.worker.encoder.identity import describe
from jdq.worker.encoder.pooling import ChosenPoolings


def test_the_space_of_a_hashing_encoder_is_that_of_what_it_computes() -> None:
    space = space_of("hash:8", max_length=12, precision="float32", storage_dtype="float32", pooling="cls")
    assert space == HashEncoder("hash:8", max_length=12).space("float32")
    loaded = load("hash:8", max_length=12, precision="float32", device="cpu")
    assert loaded.space("float32") == space


def test_the_space_of_a_model_follows_every_option(tiny: Path) -> None:
    space = space_of(str(tiny), max_length=100, precision="bfloat16", storage_dtype="float32", pooling="mean")
    assert (space.max_length, space.precision, space.storage_dtype, space.pooling) == (
        100,
        "bfloat16",
        "float32",
        "mean",
    )
    assert space == describe(str(tiny), max_length=100, precision="bfloat16", storage_dtype="float32", pooling="mean")


def test_a_model_is_loaded_with_every_option_and_kept(tiny: Path) -> None:
    encoder = load(str(tiny), max_length=100, precision="bfloat16", device="cpu", poolings=("mean",))
    space = encoder.space("float32")
    assert (space.max_length, space.precision, space.pooling) == (100, "bfloat16", "mean")
    assert load(str(tiny), max_length=100, precision="bfloat16", device="cpu", poolings=("mean",)) is encoder
    assert load(str(tiny), max_length=100, precision="bfloat16", device="cpu").space("float32").pooling == "cls"


@pytest.mark.parametrize("requested", [("auto",), ("cls",), ("cls", "auto")])
def test_a_hashing_encoder_has_one_pooling(requested: tuple[str, ...]) -> None:
    assert poolings_of("hash:8", requested) == ChosenPoolings(names=("cls",), reason="this encoder's only pooling")


def test_a_hashing_encoder_computes_in_one_precision() -> None:
    assert fastest_precision("hash:8", "cpu", ("cls",)) == "float32"


@pytest.mark.parametrize(("requested", "used"), [("auto", "bfloat16"), ("fast", "float32"), ("int8", "int8")])
def test_a_requested_precision_is_a_name_or_settled_or_the_fastest(requested: str, used: str) -> None:
    assert precision_of(requested, "hash:8", "cpu", ("cls",), lambda: "bfloat16") == used
