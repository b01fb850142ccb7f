from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdq.worker.heads.errors import BadSplit, MissingLabels, OneClassOnly, TooFewRows
from jdq.worker.heads.split import TEST, TRAIN, VALIDATION, Split, make_split


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
    from jdq.worker.heads.labels import read_targets

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


def test_a_hundred_thousand_rows_take_less_than_two_seconds() -> None:
    import time

    keys = np.random.default_rng(0).integers(0, 256, (100_000, 16)).astype(np.uint8)
    labels = np.array([f"label {i % 50}" for i in range(100_000)], dtype=object)
    started = time.process_time()
    make_split(labels, keys)
    assert time.process_time() - started < 2
