"""Splits that keep groups of rows together, and splits that somebody else decided."""

import numpy as np
import pytest

from jdq.worker.heads.errors import OneClassOnly, TooFewRows
from jdq.worker.heads.split import (
    TEST,
    TRAIN,
    VALIDATION,
    make_split,
    split_as_given,
)
from tests.heads.split_keys import keys_of


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
