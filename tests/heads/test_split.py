from __future__ import annotations

import hashlib
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
    _mended,
    group_numbers,
    group_strata,
    make_split,
    positions,
    quoted,
    row_strata,
    split_as_given,
)


def keys_of(texts: list[int]) -> npt.NDArray[np.uint8]:
    keys = np.zeros((len(texts), 16), dtype=np.uint8)
    keys[:, :8] = np.array(texts, dtype=np.uint64).view(np.uint8).reshape(-1, 8)
    return keys


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


def test_the_rarest_label_of_a_set_is_the_one_that_is_trained_on_and_tested() -> None:
    for start in range(0, 60, 3):
        labels = ["common|rare"] * 2 + ["common"] * 90
        split = make_split(labels, keys_of(list(range(start, start + 92))), label_separator="|")
        assert sorted(split.parts[:2].tolist()) == [TRAIN, TEST]


def test_a_stored_split_comes_back_and_a_damaged_one_is_refused() -> None:
    split = make_split(["a", "b"] * 50, keys_of(list(range(100))))
    again = Split.from_json(split.parts, split.to_json())
    assert again.digest == split.digest and again.counts() == split.counts()
    assert sum(split.counts().values()) == 100 and split.counts()["test"] == len(split.rows(TEST))
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
        "counts": {name: int((split.parts == part).sum()) for part, name in enumerate(("train", "validation", "test"))},
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
    found = _mended(given_parts, validation)
    assert found.tolist() == expected and found.dtype == np.uint8
    assert given_parts.tolist() == parts


def test_groups_are_never_in_two_parts_and_texts_link_them() -> None:
    rng = np.random.default_rng(0)
    texts, groups = rng.integers(0, 300, 900), rng.integers(0, 120, 900)
    groups[texts == 5] = 7  # all of a group's and all of a text's
    names = np.array([f"company {group}" for group in groups])
    names[:200] = ""
    labels = [str(text % 2) for text in texts]
    split = make_split(labels, keys_of(texts.tolist()), groups=names)
    for of in (texts, names):
        for value in set(of.tolist()) - {""}:
            assert len(set(split.parts[of == value].tolist())) == 1


def test_a_group_keeps_its_part_when_it_gets_other_texts() -> None:
    names = [f"company {i % 200}" for i in range(1000)]
    first = make_split(["a", "b"] * 500, keys_of(list(range(1000))), groups=np.array(names))
    second = make_split(["a", "b"] * 500, keys_of(list(range(1000, 2000))), groups=np.array(names))
    assert first.digest == second.digest and min(first.counts().values()) > 50
    no_groups = make_split(["a", "b"] * 500, keys_of(list(range(1000))), groups=np.array([""] * 1000))
    assert no_groups.digest == make_split(["a", "b"] * 500, keys_of(list(range(1000)))).digest


def test_what_somebody_else_decided_is_kept_less_the_texts_of_a_later_part() -> None:
    texts = [*range(40), 1, 2, 3]
    parts = np.array([TRAIN] * 20 + [VALIDATION] * 10 + [TEST] * 10 + [TEST, VALIDATION, TRAIN], dtype=np.uint8)
    split, kept = split_as_given([str(text % 2) for text in texts], keys_of(texts), parts)
    assert np.flatnonzero(~kept).tolist() == [1, 2]
    assert split.parts.tolist() == parts[kept].tolist()


def test_without_a_validation_part_the_texts_that_would_be_validated_on_are_it() -> None:
    texts = list(range(1000))
    parts = np.array([TRAIN] * 800 + [TEST] * 200, dtype=np.uint8)
    split, kept = split_as_given(["a", "b"] * 500, keys_of(texts), parts)
    usual = make_split(["a", "b"] * 500, keys_of(texts))
    assert kept.all() and (split.rows(TEST) == np.arange(800, 1000)).all()
    assert split.rows(VALIDATION).tolist() == [row for row in usual.rows(VALIDATION).tolist() if row < 800]


def test_parts_that_leave_nothing_to_test_are_refused() -> None:
    with pytest.raises(TooFewRows):
        split_as_given(["a", "b"] * 5, keys_of(list(range(10))), np.zeros(10, dtype=np.uint8))


def test_what_leaves_nothing_to_test_or_one_class_to_train_is_refused() -> None:
    with pytest.raises(TooFewRows) as few:
        make_split(["a", "a", "b"], keys_of([1, 1, 2]))
    assert str(few.value) == (
        "3 rows with 2 distinct texts in 2 classes leave no row to test on: a class needs at least two different texts"
        "\n  try: more labelled rows"
    )
    with pytest.raises(OneClassOnly) as one:
        split_as_given(["x", "x", "y"], keys_of([0, 1, 2]), np.array([TRAIN, TRAIN, TEST], dtype=np.uint8))
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
    shared = next(i for i in range(99, 0, -1) if positions(keys_of([i]), 0)[0] < 0.2)  # it is tested
    rest = [i for i in range(100, 200) if positions(keys_of([i]), 0)[0] > 0.2][:22]
    split = make_split(labels, keys_of([*[shared] * 5, *rest]))
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
