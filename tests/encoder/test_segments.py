"""Ids computed segment by segment are those that the Rust tokenizer gives for whole texts."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdq.worker.encoder import segments
from jdq.worker.encoder.segments import Segments, flattened, splits_at_spaces
from jdq.worker.encoder.tokens import FastTokenizer, load_tokenizer
from tests.encoder.test_tokens import TEXTS

SPACES = [c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace() or unicodedata.category(c) in ("Cc", "Zs")]


@pytest.fixture(scope="module")
def whole(bart_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> FastTokenizer:
    """The Rust tokenizer with the full vocabulary."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((bart_tokenizer / name).read_bytes())
    (folder / "config.json").write_text('{"model_type": "bart"}')
    return FastTokenizer(load_tokenizer(folder).behaviour)


class Counted:
    """An encoder of segments that counts them, and fails when asked to."""

    def __init__(self, encode: FastTokenizer) -> None:
        self.encode, self.texts, self.fails = encode, list[str](), False

    def __call__(self, texts: Sequence[str], special: bool) -> Iterable[list[int]]:
        assert not special
        if self.fails:
            raise MemoryError
        self.texts += texts
        return self.encode(texts, special)


def check(ours: Segments, whole: FastTokenizer, texts: list[str]) -> None:
    """Compares ids, counts and types with those of the whole texts."""
    (ids, counts), (whole_ids, whole_counts) = ours.flat_ids(texts), flattened(whole(texts, True))
    assert (ids.dtype, counts.dtype) == (whole_ids.dtype, whole_counts.dtype)
    assert counts.tolist() == whole_counts.tolist()
    assert ids.tolist() == whole_ids.tolist()


def test_every_kind_of_white_space_splits_as_the_rust_tokenizer_splits(whole: FastTokenizer) -> None:
    assert len(SPACES) > 80
    around = ["{c}", "{c}{c}", "a{c}b", "a {c}b", "a{c} b", "a {c} b", "a{c}{c}b", " {c} {c}", "1{c}\n{c}.", "'{c}'s"]
    check(Segments(whole, [0], [2]), whole, [text.format(c=c) for c in SPACES for text in around])


def test_no_other_character_splits(whole: FastTokenizer) -> None:
    plane = [c for c in map(chr, range(0x10000)) if unicodedata.category(c) != "Cs"]
    check(Segments(whole, [0], [2]), whole, [f"a{c} {c}{c}1" for c in plane])


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text(alphabet=" \n\t\x1c\x85\xa0\u3000aZé1½'s.<>\u0301安🚑", max_size=12), max_size=4))
def test_any_texts_have_the_ids_of_the_rust_tokenizer(whole: FastTokenizer, texts: list[str]) -> None:
    check(Segments(whole, [0], [2]), whole, texts)


@pytest.mark.parametrize(("head", "tail"), [([], []), ([0, 7], []), ([], [5]), ([0], [2, 2])])
def test_each_text_stands_between_its_special_tokens(head: list[int], tail: list[int], whole: FastTokenizer) -> None:
    texts = ["a nurse", "", "a"]
    plain = list(whole(texts, False))
    ids, counts = Segments(whole, head, tail).flat_ids(texts)
    assert ids.tolist() == [number for text in plain for number in (*head, *text, *tail)]
    assert counts.tolist() == [len(head) + len(text) + len(tail) for text in plain]


def test_a_segment_is_computed_once(whole: FastTokenizer) -> None:
    counted = Counted(whole)
    ours = Segments(counted, [0], [2])
    for texts in (["a nurse a nurse", "a\n\nnurse"], ["a nurse"], []):
        check(ours, whole, texts)
    assert counted.texts == ["a", " nurse", " a", "\n", "nurse"]


def test_all_are_forgotten_before_they_take_too_much_memory(
    whole: FastTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_IDS", 12)
    counted = Counted(whole)
    ours = Segments(counted, [0], [2])
    for word in ("a", "a", "b", "c"):  # of one id each, beside the two special tokens
        check(ours, whole, [f"{word} {word}"])
    assert counted.texts == ["a", " a", "b", " b", "c", " c"]
    check(ours, whole, ["0 1 2 3 4 5 6 7"])
    counted.texts.clear()
    check(ours, whole, ["a"])
    assert counted.texts == ["a"]


def test_an_error_leaves_no_segment_without_its_ids(whole: FastTokenizer) -> None:
    counted = Counted(whole)
    ours = Segments(counted, [0], [2])
    check(ours, whole, ["a nurse"])
    counted.fails = True
    with pytest.raises(MemoryError):
        ours.flat_ids(["a driver at night"])
    counted.fails = False
    check(ours, whole, ["at night", "a driver", "a nurse"])


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("normalizer", {"normalizer": {"type": "NFC"}}),
        ("pre_tokenizer", {"pre_tokenizer": None}),
        ("pre_tokenizer", {"pre_tokenizer": {"type": "Whitespace"}}),
        ("add_prefix_space", {"add_prefix_space": True}),
        ("use_regex", {"use_regex": False}),
        ("dropout", {"dropout": 0.1}),
        ("added_tokens", {"special": False}),
    ],
)
def test_other_tokenizers_get_whole_texts(part: str, change: dict[str, object], whole: FastTokenizer) -> None:
    definition = json.loads(whole.behaviour)
    assert splits_at_spaces(json.dumps(definition))
    places = {
        "add_prefix_space": definition["pre_tokenizer"],
        "use_regex": definition["pre_tokenizer"],
        "dropout": definition["model"],
        "added_tokens": definition["added_tokens"][-1],
    }
    places.get(part, definition).update(change)
    assert not splits_at_spaces(json.dumps(definition))


def test_what_only_moves_offsets_is_no_difference(whole: FastTokenizer) -> None:
    definition = json.loads(whole.behaviour)
    definition["pre_tokenizer"]["trim_offsets"] = not definition["pre_tokenizer"]["trim_offsets"]
    assert splits_at_spaces(json.dumps(definition))


def test_the_tokenizer_of_a_bart_uses_segments(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load_tokenizer(tiny)
    expected = flattened(FastTokenizer(tokenizer.behaviour)(TEXTS, True))
    monkeypatch.setattr(FastTokenizer, "__call__", lambda self, texts, special: pytest.fail(f"computed {texts} again"))
    with pytest.raises(pytest.fail.Exception, match=r"computed \['nurse'\] again"):
        tokenizer.flat_ids(["nurse"])
    monkeypatch.undo()
    assert [part.tolist() for part in tokenizer.flat_ids(TEXTS)] == [part.tolist() for part in expected]
