"""The feature space names the numbers: the same encoder elsewhere is the same, any change is another."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BartForConditionalGeneration, BartForSequenceClassification, BartModel

from jdq.worker.encoder import fingerprint
from jdq.worker.encoder.identity import describe
from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.tiny import make_tiny_bart
from tests.encoder.conftest import SaveModel


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


@pytest.mark.parametrize("kind", [BartModel, BartForSequenceClassification, BartForConditionalGeneration])
def test_the_same_encoder_under_another_kind_of_model_is_the_same(
    kind: type[BartModel], tiny: Path, save_model: SaveModel
) -> None:
    other = kind.from_pretrained(tiny)
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if ".decoder.layers" in name:
                weight.add_(1)  # the decoder is no part of a feature
    folder = save_model(other)
    assert describe(str(folder)).weights == describe(str(tiny)).weights
    assert describe(str(folder)) == describe(str(tiny))


def test_the_layout_of_the_files_does_not_matter(tiny: Path, save_model: SaveModel) -> None:
    folder = save_model(BartModel.from_pretrained(tiny), max_shard_size="300KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert describe(str(folder)) == describe(str(tiny))


def test_one_changed_bit_of_a_weight_is_another_space(tiny: Path, copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["encoder.layers.2.fc2.bias"][5] += 1e-6
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert describe(str(copy)).weights != describe(str(tiny)).weights


def test_a_changed_decoder_is_the_same_space(tiny: Path, copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["decoder.layers.0.fc2.bias"][5] += 1
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert describe(str(copy)) == describe(str(tiny))


@pytest.mark.parametrize(
    ("key", "value"), [("encoder_attention_heads", 2), ("activation_function", "relu"), ("scale_embedding", True)]
)
def test_a_switch_in_the_config_is_another_space(key: str, value: object, tiny: Path, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {key: value}))
    assert describe(str(copy)).architecture != describe(str(tiny)).architecture


def test_labels_and_dropout_in_the_config_do_not_matter(tiny: Path, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    extra = {"id2label": {"0": "x"}, "dropout": 0.5, "transformers_version": "9", "architectures": ["X"]}
    (copy / "config.json").write_text(json.dumps(config | extra))
    assert describe(str(copy)) == describe(str(tiny))


def test_one_changed_merge_is_another_tokenizer(tiny: Path, copy: Path) -> None:
    lines = (copy / "merges.txt").read_text(encoding="utf-8").splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    (copy / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert describe(str(copy)).tokenizer != describe(str(tiny)).tokenizer
    assert describe(str(copy)).weights == describe(str(tiny)).weights


def test_the_tokenizer_saved_again_by_transformers_is_the_same(tiny: Path, copy: Path) -> None:
    AutoTokenizer.from_pretrained(tiny).save_pretrained(copy)
    assert (copy / "tokenizer.json").is_file()
    assert describe(str(copy)).tokenizer == describe(str(tiny)).tokenizer


def test_limit_precision_and_storage_are_part_of_the_space(tiny: Path) -> None:
    digests = {
        describe(str(tiny)).digest,
        describe(str(tiny), max_length=512).digest,
        describe(str(tiny), precision="bfloat16").digest,
        describe(str(tiny), storage_dtype="float32").digest,
    }
    assert len(digests) == 4


def test_the_planner_and_the_worker_agree_on_the_feature_space(tiny: Path) -> None:
    assert describe(str(tiny), max_length=100) == load_encoder(str(tiny), max_length=100).space("float16")


def test_a_known_encoder_has_a_known_fingerprint(tmp_path: Path) -> None:
    """Shards lie in folders named by this digest: where it changes, everybody's features are computed again."""
    folder = make_tiny_bart(tmp_path / "m", dim=16, layers=1)
    constant = {name: torch.full_like(t, 0.5) for name, t in load_file(folder / "model.safetensors").items()}
    save_file(constant, folder / "model.safetensors", metadata={"format": "pt"})
    space = describe(str(folder))
    assert space.architecture == "bart-encoder layers=1 heads=1 activation=gelu embed_scale=1"
    assert (space.weights, space.tokenizer) == ("0a900278c2baf9b50ac300763e80abb1", "e5b2cd120fe83c977135073e0e8760c9")


def test_a_config_is_known_by_what_changes_numbers() -> None:
    config = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    known = fingerprint.of_config(config)
    assert known == "88c838533104"
    without_effect = {"id2label": {"0": "a"}, "attention_probs_dropout_prob": 0.1, "classifier_dropout": None}
    assert fingerprint.of_config(dict(reversed((config | without_effect).items()))) == known
    for changed in ({"hidden_act": "relu"}, {"layer_norm_eps": 1e-5}, {"pad_token_id": 1}):
        assert fingerprint.of_config(config | changed) != known


def test_a_tokenizer_is_known_by_its_steps_and_not_by_how_they_are_written() -> None:
    known = fingerprint.of_tokenizer('{"b": ["é"], "a": 1}')
    assert known == fingerprint.of_tokenizer('{"a":1,\n "b":["\\u00e9"]}')
    assert known != fingerprint.of_tokenizer('{"a": 1, "b": ["e"]}')
