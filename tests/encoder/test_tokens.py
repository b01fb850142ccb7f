"""Tokens are those of the model's tokenizer, with special tokens' strings as plain text, truncated on the right."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, BertConfig, BertModel

from jdq.worker.encoder.errors import LimitTooLong, TokenizerMismatch, UnsafeWeights
from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.tokens import TextTokenizer, Tokens, load_tokenizer
from tests.encoder.conftest import Reference, SaveModel

SPECIAL = ["ends </s> here", "<s>starts", "a <mask> b", "<pad><pad>", "<unk>", "</s>"]
TEXTS = ["Hello world", "", " ", "Łódź 🚑 안녕\r\n\ttab", "word " * 400, *SPECIAL]


def ids_of(tokens: Tokens) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.ids, np.cumsum(tokens.lengths)[:-1])]


@pytest.mark.parametrize("max_length", [3, 4, 100, 1024])
def test_ids_are_those_of_transformers_with_truncation(tiny: Path, max_length: int) -> None:
    theirs = AutoTokenizer.from_pretrained(tiny)
    expected = theirs(TEXTS, truncation=True, max_length=max_length, split_special_tokens=True)["input_ids"]
    assert ids_of(load_tokenizer(tiny).tokenize(TEXTS, max_length)) == expected


@pytest.mark.parametrize("text", SPECIAL)
def test_a_special_token_in_a_text_is_plain_text(tiny: Path, text: str) -> None:
    (ids,) = ids_of(load_tokenizer(tiny).tokenize([text], 1024))
    special = set(AutoTokenizer.from_pretrained(tiny).all_special_ids)
    assert (ids[0], ids[-1]) == (0, 2)
    assert not special & set(ids[1:-1])


@pytest.mark.parametrize("kind", ["packed", "plain"])
def test_a_literal_end_of_text_changes_the_feature_and_ends_nothing(
    kind: str, tiny: Path, save_model: SaveModel, reference: Reference
) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    folder = tiny if kind == "packed" else save_model(BertModel(BertConfig(**sizes, vocab_size=4_000)))
    encoder = load_encoder(str(folder))
    assert encoder.path == kind
    tokens = encoder.tokenize(["before </s> after", "before </s> other", "<pad> x", *SPECIAL])
    features = encoder.encode(tokens)
    assert np.abs(features - reference(folder, tokens)).max() <= 1e-5
    assert np.abs(features[0] - features[1]).max() > 1e-4


def test_tokens_before_truncation_are_counted(tiny: Path) -> None:
    tokens = load_tokenizer(tiny).tokenize(["a", " a" * 50, " a" * 8, " a" * 9], 10)
    assert tokens.n_tokens.tolist() == [3, 52, 10, 11]
    assert tokens.lengths.tolist() == [3, 10, 10, 10]
    assert tokens.n_truncated == 2
    assert tokens.n_tokens.dtype == np.uint32


def test_unknown_tokens_are_counted(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "known", "word"]))
    BertConfig(vocab_size=7).save_pretrained(tmp_path)
    tokens = load_tokenizer(tmp_path).tokenize(["known word", "known 안녕", "[UNK] known"], 512)
    assert tokens.n_unknown.tolist()[:2] == [0, 1]


def test_no_texts_are_no_tokens(tiny: Path) -> None:
    encoder = load_encoder(str(tiny))
    tokens = encoder.tokenize([])
    assert len(tokens) == 0
    assert encoder.encode(tokens).shape == (0, 64)


def test_an_empty_text_has_a_feature_and_a_long_one_is_truncated(tiny: Path, reference: Reference) -> None:
    encoder = load_encoder(str(tiny))
    tokens = encoder.tokenize(["", "long " * 3_000])
    assert tokens.lengths.tolist() == [2, 1024]
    assert np.abs(encoder.encode(tokens) - reference(tiny, tokens)).max() <= 1e-5


def test_several_threads_get_the_same_tokens(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    texts = [f"text {n} " * (n % 50) for n in range(200)]
    expected = tokenizer.tokenize(texts, 64)
    with ThreadPoolExecutor(4) as pool:
        for tokens in pool.map(lambda _: tokenizer.tokenize(texts, 64), range(8)):
            assert np.array_equal(tokens.ids, expected.ids)


def test_a_folder_without_tokenizer_says_which_files_it_needs(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy", ignore=shutil.ignore_patterns("vocab*", "merges*"))
    with pytest.raises(TokenizerMismatch) as refused:
        load_encoder(str(folder))
    assert str(refused.value) == (
        f"{folder} has no tokenizer (none of tokenizer.json, vocab.json, vocab.txt, spiece.model, "
        "sentencepiece.bpe.model, spm.model)\n"
        "  save it beside the weights: AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)"
    )


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, tiny: Path, bart_tokenizer: Path) -> None:
    larger = shutil.copytree(tiny, tmp_path / "larger")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(bart_tokenizer / name, larger)
    with pytest.raises(TokenizerMismatch, match="50265 entries, its model 4000"):
        load_encoder(str(larger))
    smaller = shutil.copytree(tiny, tmp_path / "smaller")
    (smaller / "vocab.json").write_text('{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "<mask>": 5}')
    (smaller / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(TokenizerMismatch, match="6 entries, its model 4000"):
        load_encoder(str(smaller))


def test_a_limit_beyond_the_positions_or_below_one_token_is_refused(tiny: Path) -> None:
    with pytest.raises(LimitTooLong, match="positions for 1024 tokens, not 2000"):
        load_encoder(str(tiny), max_length=2_000)
    with pytest.raises(LimitTooLong, match="at least 3 are needed"):
        load_encoder(str(tiny), max_length=2)


class Words:
    """A tokenizer in Python: a token per word, framed by <s> <t> and </s>."""

    def __init__(self, **changed: object) -> None:
        self.pad_token_id: int | None = 9
        self.unk_token_id: int | None = 3
        self.all_special_ids = [0, 1, 2, 9]
        self.model_max_length = 1e30
        self.frame = ([0, 1], [2])
        for name, value in changed.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return 10

    def get_vocab(self) -> dict[str, int]:
        return {"<s>": 0, "<t>": 1, "</s>": 2, "?": 3, "a": 4, "b": 5, "<pad>": 9}

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
        assert split_special_tokens
        plain = [{"a": 4, "b": 5}.get(word, 3) for word in text.split()]
        return [*self.frame[0], *plain, *self.frame[1]] if add_special_tokens else plain


def test_a_tokenizer_in_python_is_framed_truncated_and_counted_as_the_others() -> None:
    tokenizer = TextTokenizer(Words())
    tokens = tokenizer.tokenize(["a b", "a x b y", "a", ""], 5)
    assert ids_of(tokens) == [[0, 1, 4, 5, 2], [0, 1, 4, 3, 2], [0, 1, 4, 2], [0, 1, 2]]
    assert tokens.n_tokens.tolist() == [5, 7, 4, 3]
    assert tokens.n_unknown.tolist() == [0, 2, 0, 0]
    assert tokens.n_unknown.dtype == np.uint32
    assert tokens.n_truncated == 1
    assert tokenizer.least_length == 4
    assert (tokenizer.pad_id, tokenizer.vocabulary_size, tokenizer.highest_id, tokenizer.limit) == (9, 10, 5, None)
    assert json.loads(tokenizer.behaviour) == {"class": "Words", "vocabulary": Words().get_vocab()}


def test_a_tokenizer_may_lack_padding_unknown_words_and_frames() -> None:
    bare = TextTokenizer(Words(pad_token_id=None, unk_token_id=None, frame=([], [])))
    assert (bare.pad_id, bare.least_length) == (0, 1)
    assert bare.tokenize(["x"], 3).n_unknown.tolist() == [0]


@pytest.mark.parametrize(("own", "limit"), [(512, 512), (999_999, 999_999), (1_000_000, None), (None, None)])
def test_a_tokenizers_own_limit_counts_unless_it_means_none(own: int | None, limit: int | None) -> None:
    assert TextTokenizer(Words(model_max_length=own)).limit == limit


def test_a_tokenizer_that_finds_no_token_or_changes_the_text_is_refused() -> None:
    class Nothing(Words):
        def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
            return []

    class Other(Words):
        def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
            return [0, 5, 2] if add_special_tokens else [4]

    with pytest.raises(TokenizerMismatch, match=r"^the tokenizer finds no token in the text 'a'$"):
        TextTokenizer(Nothing())
    with pytest.raises(TokenizerMismatch, match=r"^the tokenizer changes a text's own tokens when it adds"):
        TextTokenizer(Other())


def test_a_tokenizer_that_cannot_be_read_or_needs_its_own_code_is_refused(tiny: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(tiny, tmp_path / "damaged")
    (damaged / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerMismatch, match=rf"^the tokenizer of {damaged} cannot be loaded: "):
        load_tokenizer(damaged)
    coded = shutil.copytree(tiny, tmp_path / "coded")
    config = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (coded / "tokenizer_config.json").write_text(json.dumps(config))
    (coded / "config.json").write_text('{"model_type": "own"}')
    (coded / "own.py").write_text("raise SystemExit('the code was run')")
    with pytest.raises(UnsafeWeights, match=rf"^the tokenizer of {coded} needs its own code, which jdq never runs$"):
        load_tokenizer(coded)
