from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdq.store.datasets.splits import split_digest
from jdq.worker.heads.errors import BadSplit, MissingLabels, OneClassOnly, TooFewRows
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.split import (
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    _assign_class,
    group_numbers,
    group_strata,
    make_split,
    quoted,
    row_strata,
)


def keys_of(texts: list[int]) -> npt.NDArray[np.uint8]:
    keys = np.zeros((len(texts), 16), dtype=np.uint8)
    keys[:, :8] = np.array(texts, dtype=np.uint64).view(np.uint8).reshape(-1, 8)
    return keys


def test_every_class_has_its_share_of_each_part() -> None:
    labels = ["a"] * 700 + ["b"] * 200 + ["c"] * 100
    split = make_split(labels, keys_of(list(range(1000))))
    for name, size in (("a", 700), ("b", 200), ("c", 100)):
        parts = split.parts[np.array(labels) == name]
        shares = [(parts == part).sum() / size for part in (TRAIN, VALIDATION, TEST)]
        assert shares == pytest.approx([0.7, 0.1, 0.2])
    assert split.warnings == ()


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    labels, keys = ["a", "b"] * 50, keys_of(list(range(100)))
    assert make_split(labels, keys, seed=3).digest == make_split(labels, keys, seed=3).digest
    assert make_split(labels, keys, seed=3).digest != make_split(labels, keys, seed=4).digest


def test_one_known_digest() -> None:
    split = make_split(["a", "b"] * 50, keys_of(list(range(100))), seed=0)
    assert split.digest == "b25ebc56f4c096a4e9778cafd0e6b156"


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


def test_a_class_of_one_row_is_in_train_alone_and_counted() -> None:
    split = make_split(["a"] * 20 + ["b"] * 20 + ["rare"], keys_of(list(range(41))))
    assert split.parts[-1] == TRAIN
    assert split.warnings == ("1 class not in the test part, for lack of distinct texts: 'rare'",)


def test_a_class_of_two_rows_is_trained_on_once_and_tested_once() -> None:
    split = make_split(["a"] * 20 + ["rare"] * 2, keys_of(list(range(22))))
    assert sorted(split.parts[-2:]) == [TRAIN, TEST]


def test_repeats_are_counted_and_so_are_texts_of_two_labels() -> None:
    texts = [*range(20), 0, 0, 1]
    labels = ["a", "b"] * 10 + ["a", "b", "b"]
    split = make_split(labels, keys_of(texts))
    assert split.warnings[0].startswith("3 of 23 rows repeat the text of another row (20 distinct texts)")
    assert split.warnings[1] == "1 of 20 distinct texts have different labels in different rows"


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


def test_label_sets_are_stratified_by_their_rarest_label() -> None:
    labels = ["common|rare"] * 10 + ["common"] * 90
    split = make_split(labels, keys_of(list(range(100))), label_separator="|")
    assert (split.parts[:10] == TEST).sum() == 2
    assert (split.parts[:10] == TRAIN).sum() == 7


def test_a_stored_split_comes_back_and_a_damaged_one_is_refused() -> None:
    split = make_split(["a", "b"] * 50, keys_of(list(range(100))))
    again = Split.from_json(split.parts, split.to_json())
    assert again.digest == split.digest and again.counts() == split.counts() == {
        "train": 70,
        "validation": 10,
        "test": 20,
    }
    altered = split.parts.copy()
    altered[0] = (altered[0] + 1) % 3
    with pytest.raises(BadSplit, match="damaged"):
        Split.from_json(altered, split.to_json())


def test_every_field_of_a_stored_split_comes_back() -> None:
    labels = ["a"] * 20 + ["b"] * 20 + ["rare"]
    split = make_split(labels, keys_of(list(range(41))), seed=3, test=0.25, validation=0.15)
    stored = json.loads(json.dumps(split.to_json()))
    assert stored == {
        "seed": 3,
        "test": 0.25,
        "validation": 0.15,
        "distinct_texts": 41,
        "warnings": ["1 class not in the test part, for lack of distinct texts: 'rare'"],
        "digest": split_digest(split.parts),
        "counts": {"train": 25, "validation": 6, "test": 10},
    }
    again = Split.from_json(split.parts.tolist(), stored)
    assert again.to_json() == split.to_json() and again.warnings == split.warnings
    assert again.parts.dtype == np.uint8 and again.parts.tolist() == split.parts.tolist()
    assert again.rows(TEST).tolist() == np.flatnonzero(split.parts == 2).tolist()


@pytest.mark.parametrize("parts", [np.array([0, 3], dtype=np.uint8), np.zeros((2, 1), dtype=np.uint8)])
def test_parts_that_no_split_has_are_refused_even_with_their_digest(parts: npt.NDArray[np.uint8]) -> None:
    fields = make_split(["a", "b"] * 50, keys_of(list(range(100)))).to_json()
    digest = split_digest(parts)
    with pytest.raises(BadSplit) as caught:
        Split.from_json(parts, fields | {"digest": digest})
    assert str(caught.value) == f"the stored split is damaged: its digest is {digest}, not {digest}"
    with pytest.raises(BadSplit, match=f"its digest is {split_digest(parts[:0])}, not {digest}"):
        Split.from_json(parts[:0], fields | {"digest": digest})


def test_a_fifth_is_tested_and_a_tenth_validated_unless_asked_otherwise() -> None:
    labels, keys = ["a", "b"] * 50, keys_of(list(range(100)))
    plain = make_split(labels, keys)
    assert (plain.seed, plain.test, plain.validation) == (0, 0.2, 0.1)
    assert plain.digest == make_split(labels, keys, seed=0, test=0.2, validation=0.1).digest
    other = make_split(labels, keys, test=0.3, validation=0.2)
    assert other.counts() == {"train": 50, "validation": 20, "test": 30}


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
    ("sizes", "test", "validation", "expected"),
    [
        ([1], 0.5, 0.5, [0]),
        ([1, 1], 0.1, 0.9, [2, 0]),
        ([1, 1, 1], 0.2, 0.1, [2, 0, 0]),
        ([1, 1, 1], 0.2, 0.2, [2, 1, 0]),
        ([1] * 10, 0.25, 0.15, [2, 2, 2, 1, 1, 0, 0, 0, 0, 0]),  # halves are rounded up
        ([1, 5, 1, 1, 1, 1], 0.2, 0.1, [2, 0, 2, 1, 0, 0]),
        ([2, 3, 5], 0.2, 0.3, [2, 1, 0]),  # the largest first, each to the part that lacks the most rows
        ([3, 2, 5], 0.2, 0.3, [1, 2, 0]),
        ([4, 4], 0.2, 0.1, [2, 0]),  # neither part is left empty
        ([1, 9], 0.2, 0.1, [2, 0]),
        ([3, 2], 0.9, 0.0, [2, 0]),
        ([6, 1, 1], 0.9, 0.0, [2, 2, 0]),
        ([1, 1, 1], 0.0, 0.0, [2, 0, 0]),  # a class of two texts or more is always tested
    ],
)
def test_the_texts_of_a_class_are_assigned_in_order(
    sizes: list[int], test: float, validation: float, expected: list[int]
) -> None:
    found = _assign_class(np.array(sizes), test, validation)
    assert found.tolist() == expected and found.dtype == np.uint8


def test_what_leaves_nothing_to_test_or_one_class_to_train_is_refused() -> None:
    with pytest.raises(TooFewRows) as few:
        make_split(["a", "a", "b"], keys_of([1, 1, 2]))
    assert str(few.value) == (
        "3 rows with 2 distinct texts in 2 classes leave no row to test on: a class needs at least two different texts"
        "\n  try: more labelled rows"
    )
    with pytest.raises(OneClassOnly) as one:
        make_split(["x", "x", "x", "y", "y"], keys_of([0, 0, 0, 0, 1]), test=0.8)
    assert str(one.value) == "the rows to train on have one class only\n  try: more labelled rows of the other classes"


def test_every_warning_counts_what_it_warns_of() -> None:
    singles = [f"single {i}" for i in range(9)]
    split = make_split(["a"] * 20 + singles + ["a", "b"], keys_of([*range(29), 0, 0]))
    assert split.warnings == (
        "2 of 31 rows repeat the text of another row (29 distinct texts): "
        "equal texts are kept in one part of the split",
        "1 of 29 distinct texts have different labels in different rows",
        f"10 classes not in the test part, for lack of distinct texts: 'b', {', '.join(map(repr, singles[:7]))}, ...",
    )
    assert (split.parts[20:29] == TRAIN).all()


def test_a_class_that_shares_its_only_text_with_a_rarer_one_may_be_untrained_and_that_is_said() -> None:
    labels = ["x"] * 4 + ["y"] * 3 + ["a", "b"] * 10
    split = make_split(labels, keys_of([0, 0, 0, 0, 0, 1, 2, *range(3, 23)]), test=0.6)
    assert split.warnings[2:] == ("1 class without a row in the train part: 'x'",)


def test_without_a_validation_part_the_warning_says_what_early_stopping_uses() -> None:
    split = make_split(["a", "b"] * 3, keys_of(list(range(6))))
    assert split.warnings == ("no class has enough rows for a validation part: early stopping uses the training loss",)


def test_eight_names_are_shown() -> None:
    assert quoted(["a", "b"]) == "'a', 'b'" and quoted("abcdefgh").endswith("'h'")
    assert quoted("abcdefghi").endswith("'g', 'h', ...") and quoted("abc", shown=2) == "'a', 'b', ..."


def test_texts_with_two_label_sets_are_counted_once_each() -> None:
    labels = ["a|b", "b|a", "a", "b", "c", "a", "", "a"] + ["a", "b"] * 5
    split = make_split(labels, keys_of([0, 0, 1, 1, 1, 2, 2, 3, *range(4, 14)]), label_separator="|")
    assert split.warnings[1] == "2 of 14 distinct texts have different labels in different rows"


def test_a_hundred_thousand_rows_take_less_than_two_seconds() -> None:
    import time

    keys = np.random.default_rng(0).integers(0, 256, (100_000, 16)).astype(np.uint8)
    labels = np.array([f"label {i % 50}" for i in range(100_000)], dtype=object)
    started = time.process_time()
    make_split(labels, keys)
    assert time.process_time() - started < 2
