"""A vocabulary of BART's form and full size gives the ids that byte-level BPE defines, in every script."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.encoder.tokens import TextTokenizer, load_tokenizer
from tests.bart_tokenizer import SIZE, Reference
from tests.written_tables import MESSAGES, REVIEWS, postings

Ids = Callable[[str], list[int]]
ODD = [
    "",
    " ",
    "  two  spaces  ",
    "\t\r\n",
    "it's they'll I'M",
    "x" * 300,
    "\uff11\uff12 ½ ²",
    "🚑🏽‍⚕️ e\u0301 \u200b",
    "\0\x7f\x80",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bart_tokenizer: Path) -> Path:
    """A tiny BART with the full vocabulary: read it, do not change it."""
    return make_tiny_bart(tmp_path_factory.mktemp("full") / "bart", dim=16, layers=1, tokenizer=bart_tokenizer)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def reference_ids(folder: Path) -> Ids:
    return Reference(folder).ids


def ids_of(tokenizer: TextTokenizer, texts: list[str], max_length: int = 1024) -> list[list[int]]:
    tokens = tokenizer.tokenize(texts, max_length)
    return [part.tolist() for part in np.split(tokens.ids, np.cumsum(tokens.lengths)[:-1])]


def test_the_vocabulary_has_the_size_and_the_special_ids_of_bart(folder: Path, tokenizer: TextTokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert (len(theirs), tokenizer.vocabulary_size) == (SIZE, SIZE)
    assert theirs.convert_tokens_to_ids(special) == [0, 1, 2, 3, SIZE - 1]
    assert tokenizer.highest_id == SIZE - 2  # the mask is a special token: no text has it


def test_ids_are_those_that_byte_level_bpe_defines(reference_ids: Ids, tokenizer: TextTokenizer) -> None:
    texts = [*(posting["text"] for posting in postings()[:100]), *(text for text, _ in REVIEWS), *ODD]
    texts += [text for _, text in MESSAGES]
    for text, ids in zip(texts, ids_of(tokenizer, texts, 10_000), strict=True):
        assert ids == reference_ids(text), text


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_has_the_ids_of_the_definition_and_no_unknown_token(
    reference_ids: Ids, tokenizer: TextTokenizer, text: str
) -> None:
    tokens = tokenizer.tokenize([text], 1024)
    assert tokens.ids.tolist() == reference_ids(text)
    assert tokens.n_unknown.tolist() == [0]


def test_words_of_the_training_text_are_one_token_each(tokenizer: TextTokenizer) -> None:
    [ids] = ids_of(tokenizer, ["You check on patients"])
    assert len(ids) == 6
    assert all(4 + 256 <= number < SIZE - 1 for number in ids[1:-1])


@pytest.mark.parametrize("name", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
def test_the_name_of_a_special_token_in_a_text_is_plain_text(
    reference_ids: Ids, tokenizer: TextTokenizer, name: str
) -> None:
    [ids] = ids_of(tokenizer, [f"before {name} after"])
    assert ids == reference_ids(f"before {name} after")
    assert not {0, 1, 2, 3, SIZE - 1} & set(ids[1:-1])


def test_texts_are_truncated_at_the_right_and_counted(reference_ids: Ids, tokenizer: TextTokenizer) -> None:
    text = " ".join(posting["text"] for posting in postings()[:3])
    whole = reference_ids(text)
    for limit in (3, len(whole) - 1, len(whole), len(whole) + 1):
        tokens = tokenizer.tokenize([text], limit)
        assert tokens.ids.tolist() == (whole if limit >= len(whole) else [*whole[: limit - 1], 2])
        assert (tokens.n_tokens.tolist(), tokens.n_truncated) == ([len(whole)], int(limit < len(whole)))


def test_a_model_of_the_full_vocabulary_encodes_and_a_copy_of_it_is_the_same_encoder(
    folder: Path, tmp_path: Path
) -> None:
    encoder = load_encoder(str(folder))
    features = encoder.encode(encoder.tokenize(["A nurse on the night shift", "A truck driver"]))
    assert features.shape == (2, 16)
    assert np.abs(features[0] - features[1]).max() > 1e-3
    copied = shutil.copytree(folder, tmp_path / "copied")
    assert load_encoder(str(copied)).identity == encoder.identity


def test_the_published_vocabulary_gives_the_known_ids(data_dir: Path, tmp_path: Path) -> None:
    published = data_dir / "bart-tokenizer"
    folder = make_tiny_bart(tmp_path / "published", dim=16, layers=1, tokenizer=published)
    tokenizer = load_tokenizer(folder)
    texts = ["Hello world", *(posting["text"] for posting in postings()[:20]), *ODD]
    ids = ids_of(tokenizer, texts)
    assert ids[0] == [0, 31414, 232, 2]
    assert ids == [Reference(published).ids(text) for text in texts]
