"""Only a folder that holds exactly the expected BART takes the packed path; all else is left to the plain one."""

from dataclasses import replace
from typing import Any

import pytest

from jdq.worker.encoder.shape import BartShape, encoder_tensors
from jdq.worker.encoder.weights import StoredTensor

CONFIG: dict[str, Any] = {
    "model_type": "bart",
    "vocab_size": 7,
    "d_model": 4,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "max_position_embeddings": 3,
}


def shape_of(**changed: Any) -> BartShape:
    shape = BartShape.of(CONFIG | changed)
    assert shape is not None
    return shape


def tensor(shape: tuple[int, ...], data: bytes = b"") -> StoredTensor:
    return StoredTensor(dtype="F32", shape=shape, data=memoryview(data))


def stored(root: str = "", **changed: Any) -> dict[str, StoredTensor]:
    """The files' tensors of such an encoder, under this root."""
    return {f"{root}encoder.{name}": tensor(size) for name, size in shape_of(**changed).tensors().items()}


@pytest.mark.parametrize(
    "changed",
    [
        {"model_type": "t5"},
        {"d_model": 5},
        {"d_model": "4"},
        {"encoder_layers": 0},
        {"encoder_layers": -1},
        {"vocab_size": 7.0},
        {"activation_function": "gelu_new"},
    ],
)
def test_a_config_that_the_packed_path_does_not_know_has_no_shape(changed: dict[str, Any]) -> None:
    assert BartShape.of(CONFIG | changed) is None


def test_what_a_config_leaves_out_is_that_of_bart_large() -> None:
    shape = BartShape.of({"model_type": "bart"})
    assert shape == BartShape(
        model_type="bart",
        vocab_size=50_265,
        dim=1_024,
        layers=12,
        heads=16,
        ffn_dim=4_096,
        max_length=1_024,
        activation="gelu",
        embed_scale=1.0,
        pre_norm=False,
    )


def test_the_architecture_says_what_the_tensors_do_not() -> None:
    assert shape_of().architecture() == "bart-encoder layers=2 heads=2 activation=gelu embed_scale=1"
    mbart = shape_of(model_type="mbart", scale_embedding=True, activation_function="relu", encoder_layers=1)
    assert mbart.architecture() == "mbart-encoder layers=1 heads=2 activation=relu embed_scale=2"
    assert mbart.pre_norm


def test_the_tensors_of_one_layer_are_those_of_hugging_faces_encoder() -> None:
    from transformers import BartConfig, BartModel, MBartConfig, MBartModel

    for model_type, config_class, model_class in (("bart", BartConfig, BartModel), ("mbart", MBartConfig, MBartModel)):
        sizes = {key: value for key, value in CONFIG.items() if key != "model_type"}
        config = config_class(**sizes, decoder_attention_heads=2)
        theirs = {name: tuple(size.shape) for name, size in model_class(config).encoder.state_dict().items()}
        assert shape_of(model_type=model_type).tensors() == theirs


@pytest.mark.parametrize("root", ["", "model.", "bart.model."])
def test_the_names_inside_the_encoder_are_found_under_any_root(root: str) -> None:
    weights = stored(root) | {
        f"{root}decoder.layers.0.fc1.weight": tensor((1,)),
        f"{root}encoder.version": tensor((1,)),
    }
    found = encoder_tensors(weights, shape_of())
    assert found is not None
    assert found.keys() == shape_of().tensors().keys()


@pytest.mark.parametrize(
    "weights",
    [
        {},
        stored() | stored("other."),
        stored() | {"encoder.adapter.weight": tensor((1,))},
        {name: each for name, each in stored().items() if name != "encoder.layers.1.fc2.bias"},
        stored() | {"encoder.layers.1.fc2.bias": tensor((5,))},
        stored(model_type="mbart"),
        stored(encoder_layers=3),
        {name.replace("encoder.", "xencoder."): each for name, each in stored().items()},
    ],
    ids=["none", "two-encoders", "extra", "missing", "other-size", "mbart", "more-layers", "other-name"],
)
def test_anything_else_is_left_to_the_plain_path(weights: dict[str, StoredTensor]) -> None:
    assert encoder_tensors(weights, shape_of()) is None


def test_a_token_embedding_may_be_stored_under_its_shared_name() -> None:
    own = "encoder.embed_tokens.weight"
    shared = tensor((7, 4), b"1")
    weights = stored() | {"shared.weight": shared}
    del weights[own]
    found = encoder_tensors(weights, shape_of())
    assert found is not None
    assert found["embed_tokens.weight"] is shared
    assert encoder_tensors(weights | {own: tensor((7, 4), b"1")}, shape_of()) is not None
    for other in (tensor((7, 4), b"2"), replace(shared, dtype="F16")):
        assert encoder_tensors(weights | {own: other}, shape_of()) is None
