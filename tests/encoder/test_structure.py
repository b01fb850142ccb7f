"""What the files say about an encoder before it is built: its tensors under any spelling, and its positions."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertModel, T5Config, T5ForConditionalGeneration

from jdq.worker.encoder import fingerprint
from jdq.worker.encoder.folder import read_config
from jdq.worker.encoder.structure import _positions, read_structure
from tests.encoder.conftest import VOCABULARY, SaveModel

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture
def bert(save_model: SaveModel) -> Path:
    return save_model(BertModel(BertConfig(**SIZES, vocab_size=VOCABULARY)))


def test_an_encoder_without_a_shape_is_described_by_its_config_and_tensors(bert: Path) -> None:
    structure = read_structure(bert)
    assert (structure.dim, structure.vocabulary, structure.positions, structure.shape) == (32, VOCABULARY, 512, None)
    assert structure.architecture == f"bert {fingerprint.of_config(read_config(bert))}"
    stored = load_file(bert / "model.safetensors")
    assert structure.tensors.keys() == {name for name in stored if not name.startswith("pooler")}
    for name, tensor in structure.tensors.items():
        assert tensor.load().equal(stored[name])


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_tensors_are_described_as_they_are_stored(kind: str, save_model: SaveModel) -> None:
    """Without loading the network, which has them in float32."""
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "vocab_size": VOCABULARY}
    network = (
        BertModel(BertConfig(**SIZES, vocab_size=VOCABULARY))
        if kind == "bert"
        else T5ForConditionalGeneration(T5Config(**t5))
    )
    stored = read_structure(save_model(network.to(torch.bfloat16))).tensors
    assert {tensor.dtype for tensor in stored.values()} == {"BF16"}


def test_the_names_of_a_model_with_a_head_are_those_of_the_same_encoder(bert: Path, save_model: SaveModel) -> None:
    headed = BertForMaskedLM.from_pretrained(bert)
    found = read_structure(save_model(headed, "headed")).tensors
    assert fingerprint.of_weights(found) == fingerprint.of_weights(read_structure(bert).tensors)


def test_names_that_only_transformers_translates_are_those_of_the_same_encoder(bert: Path) -> None:
    expected = fingerprint.of_weights(read_structure(bert).tensors)
    tensors = load_file(bert / "model.safetensors")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in tensors.items()}
    assert old.keys() != tensors.keys()
    save_file(old, bert / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint.of_weights(read_structure(bert).tensors) == expected


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": None}, 513),
        ({"model_type": "bert", "max_position_embeddings": 1}, 1),
        ({"model_type": "bert", "max_position_embeddings": 0}, None),
        ({"model_type": "bert", "max_position_embeddings": "many"}, None),
        ({"model_type": "t5"}, None),
    ],
)
def test_the_positions_are_those_that_a_text_can_use(config: dict[str, object], positions: int | None) -> None:
    assert _positions(SimpleNamespace(**config)) == positions
