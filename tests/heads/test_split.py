"""How rows are divided: by their text, each class in every part, equal texts on one side."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdq.worker.heads.errors import BadSplit, MissingLabels, OneClassOnly, TooFewRows
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.split import (
    TEST,
    TRAIN,
    VALIDATION,
    _repaired,
    group_numbers,
    group_strata,
    make_split,
    positions,
    row_strata,
)
from tests.heads.split_keys import keys_of


def test_every_class_has_about_its_share_of_each_part() -> None:
    labels = ["a"] * 7000 + ["b"] * 2000 + ["c"] * 1000
    split = make_split(labels, keys_of(list(range(10_000))))
    for name, size in (("a", 7000), ("b", 2000), ("c", 1000)):
        parts = split.parts[np.array(labels) == name]
        shares = [(parts == part).sum() / size for part in (TRAIN, VALIDATION, TEST)]
        assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)
    assert split.warnings == ()


@pytest.mark.parametrize("seed", range(20))
def test_a_text_keeps_its_part_whatever_other_rows_and_labels_there_are(seed: int) -> None:
    """Classes of over 100 texts: none has to be mended."""
    rng = np.random.default_rng(seed)
    texts = rng.permutation(1000)[: int(rng.integers(400, 1000))].tolist()
    classes = int(rng.integers(2, 4))
    split = make_split([str(text % classes) for text in texts], keys_of(texts))
    position = positions(keys_of(texts), 0)
    assert split.parts.tolist() == np.where(position < 0.2, TEST, np.where(position < 0.3, VALIDATION, TRAIN)).tolist()


def test_a_position_is_the_keyed_hash_of_the_key() -> None:
    [key] = keys_of([7])
    digest = hashlib.blake2b(key.tobytes(), digest_size=8, key=b"jdq-split-3").digest()
    assert positions(keys_of([7]), 3).tolist() == [int.from_bytes(digest, "big") / 2**64]


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    labels, keys = ["a", "b"] * 50, keys_of(list(range(100)))
    assert make_split(labels, keys, seed=3).digest == make_split(labels, keys, seed=3).digest
    assert make_split(labels, keys, seed=3).digest != make_split(labels, keys, seed=4).digest


def test_one_known_digest() -> None:
    split = make_split(["a", "b"] * 50, keys_of(list(range(100))), seed=0)
    assert split.digest == "c0324a422e95bea775b0b11926f86f8a"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=2, max_size=80), st.integers(0, 5))
def test_equal_texts_are_always_on_one_side(rows: list[tuple[int, int]], seed: int) -> None:
    texts, labels = [text for text, _ in rows], [str(label) for _, label in rows]
    try:
        split = make_split(labels, keys_of(texts), seed=seed)
    except (OneClassOnly, TooFewRows):
        return
    for text in set(texts):
        assert len({int(split.parts[i]) for i in range(len(rows)) if texts[i] == text}) == 1
    assert (split.parts == TEST).any()
    assert len({labels[i] for i in split.rows(TRAIN)}) > 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12))
def test_a_class_of_two_texts_or_more_is_trained_on_and_tested(sizes: list[int]) -> None:
    """`sizes` are the numbers of rows of each text of the class."""
    texts = [text for text, size in enumerate(sizes) for _ in range(size)]
    labels = ["wanted"] * len(texts) + ["other"] * 10
    split = make_split(labels, keys_of([*texts, *range(100, 110)]))
    assert {TRAIN, TEST} <= set(split.parts[: len(texts)].tolist())


def test_a_class_of_two_rows_is_trained_on_once_and_tested_once() -> None:
    split = make_split(["a"] * 20 + ["rare"] * 2, keys_of(list(range(22))))
    assert sorted(split.parts[-2:]) == [TRAIN, TEST]


def test_one_class_only_is_refused_with_the_next_command() -> None:
    with pytest.raises(OneClassOnly, match=r"all 3 rows have the label '01'[\s\S]*--label-column"):
        make_split(["01"] * 3, keys_of([1, 2, 3]))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(TooFewRows, match="2 rows with 2 distinct texts in 2 classes"):
        make_split(["a", "b"], keys_of([1, 2]))


def test_missing_labels_are_refused_with_their_row_numbers() -> None:
    with pytest.raises(MissingLabels, match="2 of 4 rows have no label: rows 2, 4"):
        make_split(np.array(["a", "", "b", None], dtype=object), keys_of([1, 2, 3, 4]))


def test_labels_stay_as_they_are() -> None:
    assert read_targets(["2   ", "01", "1", "2"]).classes == ("01", "1", "2", "2   ")


def test_the_rarest_label_of_a_set_is_the_one_that_is_trained_on_and_tested() -> None:
    for start in range(0, 60, 3):
        labels = ["common|rare"] * 2 + ["common"] * 90
        split = make_split(labels, keys_of(list(range(start, start + 92))), label_separator="|")
        assert sorted(split.parts[:2].tolist()) == [TRAIN, TEST]


def test_a_fifth_is_tested_and_a_tenth_validated_unless_asked_otherwise() -> None:
    labels, keys = ["a", "b"] * 1000, keys_of(list(range(2000)))
    plain = make_split(labels, keys)
    assert (plain.seed, plain.test, plain.validation) == (0, 0.2, 0.1)
    assert plain.digest == make_split(labels, keys, seed=0, test=0.2, validation=0.1).digest
    counts = make_split(labels, keys, test=0.3, validation=0.2).counts()
    assert [counts[name] / 2000 for name in ("train", "validation", "test")] == pytest.approx([0.5, 0.2, 0.3], abs=0.03)


def test_as_many_keys_as_labels_are_needed() -> None:
    with pytest.raises(BadSplit) as caught:
        make_split(["a", "b", "a"], keys_of([1, 2]))
    assert str(caught.value) == "3 labels, but 2 text keys"


def test_texts_are_numbered_by_their_first_row_whatever_their_keys() -> None:
    rng = np.random.default_rng(0)
    keys = np.zeros((200, 16), dtype=np.uint8)
    keys[:, 3], keys[:, 12] = rng.integers(0, 5, 200), rng.integers(0, 5, 200)  # one byte in each half
    numbers: dict[bytes, int] = {}
    expected = [numbers.setdefault(key.tobytes(), len(numbers)) for key in keys]
    found = group_numbers(keys)
    assert found.tolist() == expected and found.dtype == np.intp
    assert group_numbers(keys.astype(np.int64)).tolist() == expected
    assert group_numbers(np.asfortranarray(keys)).tolist() == expected


def test_rows_are_stratified_by_class_from_the_rarest_up() -> None:
    targets = read_targets(["b", "a", "b", "c", "b", "c", "d", "d"])  # a 1, c 2, d 2, b 3
    strata = row_strata(targets)
    assert strata.tolist() == [3, 0, 3, 1, 3, 1, 2, 2] and strata.dtype == np.int64
    sets = read_targets(["b|a", "b", "", "c|b", "b|c"], label_separator="|")  # a 1, c 2, b 4
    assert row_strata(sets).tolist() == [0, 2, 3, 1, 1]
    assert group_strata(strata, np.array([0, 1, 0, 0, 2, 2, 1, 2]), 3).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("parts", "validation", "expected"),
    [
        ([TEST], 0.5, [TRAIN]),  # a class of one text is trained on
        ([VALIDATION], 0.5, [TRAIN]),
        ([TRAIN, TRAIN], 0.1, [TEST, TRAIN]),
        ([TEST, TEST], 0.1, [TEST, TRAIN]),
        ([VALIDATION, VALIDATION], 0.1, [TEST, TRAIN]),
        ([TEST, VALIDATION], 0.1, [TEST, TRAIN]),
        ([TRAIN] * 4, 0.1, [TEST, TRAIN, TRAIN, TRAIN]),  # less than half a text would validate
        ([TRAIN] * 5, 0.1, [TEST, VALIDATION, TRAIN, TRAIN, TRAIN]),
        ([TEST, VALIDATION, VALIDATION, TRAIN], 0.5, [TEST, VALIDATION, VALIDATION, TRAIN]),  # nothing to mend
        ([TEST, TEST, TEST], 0.5, [TEST, TEST, TRAIN]),
    ],
)
def test_only_an_empty_part_of_a_class_is_mended_by_the_text_nearest_to_it(
    parts: list[int], validation: float, expected: list[int]
) -> None:
    given_parts = np.array(parts, dtype=np.uint8)
    found = _repaired(given_parts, validation)
    assert found.tolist() == expected and found.dtype == np.uint8
    assert given_parts.tolist() == parts


def test_a_hundred_thousand_rows_take_less_than_two_seconds() -> None:
    import time

    keys = np.random.default_rng(0).integers(0, 256, (100_000, 16)).astype(np.uint8)
    labels = np.array([f"label {i % 50}" for i in range(100_000)], dtype=object)
    started = time.process_time()
    make_split(labels, keys)
    assert time.process_time() - started < 2
