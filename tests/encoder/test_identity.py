"""What an encoder's files allow: lengths, vocabularies and storage types, to the last token."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import BartConfig, BartModel, BertConfig, BertModel, T5Config, T5ForConditionalGeneration

from jdq.worker.encoder.errors import LimitTooLong, TokenizerMismatch
from jdq.worker.encoder.identity import describe
from jdq.worker.encoder.loading import load_encoder
from tests.encoder.conftest import BART_SIZES, VOCABULARY, SaveModel

SMALL = BART_SIZES | {"d_model": 16, "encoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}


def test_every_length_from_one_token_of_text_to_the_last_position_is_allowed(tiny: Path) -> None:
    assert [describe(str(tiny), max_length=length).max_length for length in (3, 1_024)] == [3, 1_024]
    with pytest.raises(LimitTooLong) as beyond:
        describe(str(tiny), max_length=1_025)
    assert str(beyond.value) == "the encoder has positions for 1024 tokens, not 1025\n  try: --max-length 1024"
    with pytest.raises(LimitTooLong) as nothing:
        describe(str(tiny), max_length=2)
    assert str(nothing.value) == "2 tokens leave none for the text itself; at least 3 are needed"


def test_the_default_length_is_the_smaller_of_the_models_and_the_tokenizers(save_model: SaveModel) -> None:
    folder = save_model(BertModel(BertConfig(**sizes(), vocab_size=VOCABULARY, max_position_embeddings=64)))
    assert describe(str(folder)).max_length == 64
    limited(folder, 50)
    assert describe(str(folder)).max_length == 50
    assert describe(str(folder), max_length=64).max_length == 64  # the tokenizer's limit is only a default


def test_relative_positions_are_limited_by_the_tokenizer_or_to_512(save_model: SaveModel) -> None:
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "vocab_size": VOCABULARY}
    folder = save_model(T5ForConditionalGeneration(T5Config(**t5)))
    limited(folder, 10**30)
    assert describe(str(folder)).max_length == 512
    assert describe(str(folder), max_length=5_000).max_length == 5_000
    limited(folder, 77)
    assert describe(str(folder)).max_length == 77


def sizes() -> dict[str, int]:
    return {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def limited(folder: Path, length: int) -> None:
    """Sets the tokenizer's own limit."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": length}))


@pytest.mark.parametrize(
    ("entries", "fits"), [(4_000, True), (4_256, True), (4_257, False), (3_999, True), (3_998, False)]
)
def test_a_model_may_have_256_entries_more_than_its_tokenizer_but_none_less(
    entries: int, fits: bool, save_model: SaveModel
) -> None:
    """The tokenizer has 4,000 entries; its last is <mask>, which no text contains."""
    folder = save_model(BartModel(BartConfig(**SMALL | {"vocab_size": entries})))
    if fits:
        assert describe(str(folder)).dim == 16
        return
    with pytest.raises(TokenizerMismatch) as refused:
        describe(str(folder))
    assert str(refused.value) == (
        f"the tokenizer of {folder} has 4000 entries, its model {entries}: they do not belong together\n"
        "  save the model's own tokenizer beside it: AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)"
    )


@pytest.mark.parametrize(("entries", "fits"), [(51_290, True), (51_291, False)])
def test_a_large_model_may_have_a_fiftieth_more(
    entries: int, fits: bool, save_model: SaveModel, bart_tokenizer: Path
) -> None:
    folder = save_model(BartModel(BartConfig(**SMALL | {"vocab_size": entries})))
    (folder / "tokenizer.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(bart_tokenizer / name, folder)
    if fits:
        assert describe(str(folder)).dim == 16
    else:
        with pytest.raises(TokenizerMismatch, match="50265 entries, its model 51291"):
            describe(str(folder))


def test_features_are_stored_in_one_of_two_types(tiny: Path) -> None:
    identity = load_encoder(str(tiny)).identity
    assert [identity.space(dtype).storage_dtype for dtype in ("float16", "float32")] == ["float16", "float32"]
    with pytest.raises(ValueError, match=r"^features are stored as float16 or float32, not bfloat16$"):
        identity.space("bfloat16")


def test_a_space_says_all_that_the_identity_does(tiny: Path) -> None:
    identity = load_encoder(str(tiny), max_length=9, poolings=("mean", "cls")).identity
    space = identity.space("float32")
    assert (space.pooling, space.max_length, space.cutting, space.definition) == ("mean", 9, "right", 1)
    assert (space.weights, space.tokenizer, space.architecture) == (
        identity.weights,
        identity.tokenizer,
        identity.architecture,
    )
    assert (space.precision, space.dim) == ("float32", 64)
