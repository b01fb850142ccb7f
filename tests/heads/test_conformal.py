"""Abstention and sets of labels: the promised share is right, also where texts repeat."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from jdq.worker.heads.certainty import PERCENTS, Certainty, Requested, check_requested, place_of
from jdq.worker.heads.conformal import Certain, certain, certainty_of_rows, choose_certainty
from jdq.worker.heads.errors import BadParameter, NoCertainty
from jdq.worker.heads.fitted import row_keys
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.split import TEST, TRAIN, VALIDATION, make_split
from jdq.worker.heads.train import train_head

Drawn = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.uint8]]


def drawn(rng: np.random.Generator, texts: int, sizes: tuple[int, ...] = (1,), gap: float = 1.6) -> Drawn:
    """Codes, probabilities and keys of rows: each text has one label, and rows of it the same probabilities."""
    true = rng.integers(5, size=texts)
    scores = gap * np.eye(5)[true] + rng.normal(size=(texts, 5))
    # Half as sure as they should be: a promise must not depend on calibration.
    probabilities = np.exp(scores / 2) / np.exp(scores / 2).sum(axis=1, keepdims=True)
    text_of = np.repeat(np.arange(texts), rng.choice(sizes, texts))
    return true[text_of], probabilities[text_of], row_keys(texts)[text_of]


def shares(certainty: Certainty, tested: Drawn, level: float) -> dict[str, float]:
    codes, probabilities, _ = tested
    answered = probabilities.max(axis=1) >= certainty.least_to_answer(level)
    right = (probabilities.argmax(axis=1) == codes)[answered]
    return {
        "covered": (probabilities[np.arange(len(codes)), codes] >= certainty.least_in_set(level)).mean(),
        "answered": answered.mean(),
        "right": right.mean() if answered.any() else 1.0,
    }


@pytest.mark.parametrize("texts", [40, 300])
@pytest.mark.parametrize("sizes", [(1,), (1, 1, 2, 3, 6, 12)], ids=["once", "repeated"])
@pytest.mark.parametrize("gap", [1.6, 4.0], ids=["hard", "easy"])
def test_the_promised_share_is_right_on_other_texts(texts: int, sizes: tuple[int, ...], gap: float) -> None:
    rng = np.random.default_rng(0)
    tested = drawn(rng, 20_000, sizes, gap)
    found = []
    for _ in range(200):
        certainty = choose_certainty(*drawn(rng, texts, sizes, gap))
        assert certainty is not None
        found.append(shares(certainty, tested, 0.9))
    assert 0.88 <= np.mean([of["covered"] for of in found]) <= 0.925
    assert np.mean([of["right"] for of in found]) >= 0.9
    if texts == 300:
        assert np.mean([of["answered"] for of in found]) > 0.08


def test_a_set_grows_and_fewer_rows_are_answered_with_the_level() -> None:
    rng = np.random.default_rng(1)
    certainty = choose_certainty(*drawn(rng, 400))
    assert certainty is not None
    assert list(certainty.sets) == sorted(certainty.sets, reverse=True)
    answers = [np.inf if least is None else least for least in certainty.answers]
    assert answers == sorted(answers)
    assert len(certainty.sets) == len(certainty.answers) == len(PERCENTS)
    assert (certainty.rows, certainty.texts) == (400, 400.0)


def test_few_rows_promise_much_only_with_all_labels_and_without_answers() -> None:
    codes, probabilities, keys = drawn(np.random.default_rng(2), 20)
    certainty = choose_certainty(codes, probabilities, keys)
    assert certainty is not None
    assert certainty.least_in_set(0.99) == 0.0
    assert certainty.least_to_answer(0.99) == float("inf")
    sure = np.eye(5)[codes]
    # 20 rows without an error: with a confidence of 90 %, at most 10.9 % are wrong.
    all_right = choose_certainty(codes, sure, keys)
    assert all_right is not None
    assert all_right.least_to_answer(0.89) == 1.0
    assert all_right.least_to_answer(0.9) == float("inf")
    one = choose_certainty(codes[:1], probabilities[:1], keys[:1])
    assert one is not None
    assert set(one.sets[1:]) == {0.0}
    assert choose_certainty(codes[:0], probabilities[:0], keys[:0]) is None


def test_repeats_of_few_texts_are_worth_few_rows() -> None:
    codes, probabilities, keys = drawn(np.random.default_rng(3), 12)
    repeated = np.repeat(np.arange(12), 50)
    once, often = (choose_certainty(codes[rows], probabilities[rows], keys[rows]) for rows in (np.arange(12), repeated))
    assert once is not None
    assert often is not None
    assert (often.rows, often.texts) == (600, 12.0)
    assert often.least_in_set(0.95) == once.least_in_set(0.95) == 0.0


def test_equal_probabilities_are_answered_together_or_not_at_all() -> None:
    probabilities = np.array([[0.9, 0.1]] * 60 + [[0.6, 0.4]] * 40)
    codes = np.array([0] * 60 + [0] * 20 + [1] * 20)
    certainty = choose_certainty(codes, probabilities, row_keys(100))
    assert certainty is not None
    assert certainty.least_to_answer(0.9) == 0.9


def test_a_set_is_a_cell_with_its_labels_or_an_empty_one() -> None:
    probabilities = np.array([[0.5, 0.45, 0.05], [0.4, 0.3, 0.3]])
    assert Certain(least_in_set=0.45).sets(probabilities, "abc") == ["a|b", ""]
    assert Certain(least_in_set=0.0).sets(probabilities, "abc") == ["a|b|c", "a|b|c"]
    assert Certain().sets(probabilities, "abc") is None


def test_a_row_that_is_not_answered_has_an_empty_label() -> None:
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8]])
    assert Certain(least_to_answer=0.8).answers(["a", "b"], probabilities) == ["", "b"]
    assert Certain(least_to_answer=float("inf")).answers(["a", "b"], probabilities) == ["", ""]
    assert Certain().answers(["a", "b"], probabilities) == ["a", "b"]


def test_only_the_levels_that_were_requested_are_applied() -> None:
    certainty = Certainty(rows=9, texts=9.0, answers=(0.1,) * 50, sets=(0.2,) * 50)
    assert certain(Requested(abstain_at=0.9), certainty) == Certain(least_to_answer=0.1)
    assert certain(Requested(sets=0.9), certainty) == Certain(least_in_set=0.2)
    assert certain(Requested(), certainty) == Certain() == certain(Requested(), None)


@pytest.mark.parametrize("level", [0.49, 1.0, 0.905, 90])
def test_a_level_that_is_not_stored_is_an_error(level: float) -> None:
    with pytest.raises(BadParameter, match=r"0\.50 to 0\.99"):
        place_of(level)


def test_a_head_that_cannot_promise_says_why() -> None:
    known = {"multi_label": False, "certainty": {"rows": 9}}
    check_requested(Requested(), {"multi_label": True}, "h")
    check_requested(Requested(sets=0.5, abstain_at=0.99), known, "h")
    with pytest.raises(BadParameter):
        check_requested(Requested(sets=0.4), known, "h")
    with pytest.raises(BadParameter):
        check_requested(Requested(abstain_at=0.4), known, "h")
    with pytest.raises(NoCertainty, match="one label per row"):
        check_requested(Requested(sets=0.9), known | {"multi_label": True}, "h")
    with pytest.raises(NoCertainty, match="h does not know how certain it is"):
        check_requested(Requested(abstain_at=0.9), {"multi_label": False}, "h")


def test_what_was_promised_is_measured_with_intervals_over_texts() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.5, 0.5, 0.0], [0.6, 0.4, 0.0]])
    codes = np.array([0, 0, 1, 2])
    found = certainty_of_rows(codes, probabilities, row_keys(4), Certain(least_to_answer=0.6, least_in_set=0.45))
    assert (found["answered"], found["right"], found["covered"]) == (0.75, pytest.approx(1 / 3), 0.5)
    assert (found["set_size"], found["empty"]) == (1.25, 0.0)
    low, high = found["covered_interval"]
    assert low < 0.5 < high
    # A class whose probability is 0 is in no set, even if all others are.
    found = certainty_of_rows(codes, probabilities, row_keys(4), Certain(least_to_answer=2.0, least_in_set=0.0))
    assert (found["answered"], found["right"], found["right_interval"]) == (0.0, None, None)
    assert (found["covered"], found["set_size"]) == (0.75, 2.0)


@pytest.mark.parametrize("head", ["auto", "logreg", "knn"])
def test_a_trained_head_keeps_what_it_promises(head: str) -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(3, size=3000)
    X = (1.3 * np.eye(3)[codes] @ np.eye(3, 12) + rng.normal(size=(3000, 12))).astype(np.float32)
    y = ["abc"[code] for code in codes]
    split = make_split(y, row_keys(3000))
    trained = train_head(X, y, split, HeadOptions(head=head), keys=row_keys(3000))
    certainty = trained.record.certainty
    assert certainty is not None
    assert certainty.rows == split.counts()["validation"] + (split.counts()["train"] if head == "auto" else 0)
    test = split.rows(TEST)
    found = shares(certainty, (codes[test], trained.predict_proba(X[test]), row_keys(len(test))), 0.9)
    assert 0.86 <= found["covered"] <= 0.94
    assert found["right"] >= 0.86


def test_label_sets_and_heads_without_rows_left_promise_nothing() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    sets = [f"a|{'b' * (n % 2)}" for n in range(60)]
    of_sets = train_head(X, sets, make_split(sets, row_keys(60), label_separator="|"), HeadOptions(label_separator="|"))
    assert of_sets.record.certainty is None
    y = ["ab"[n % 2] for n in range(60)]
    split = make_split(y, row_keys(60))
    without = dataclasses.replace(split, parts=np.where(split.parts == VALIDATION, np.uint8(TRAIN), split.parts))
    assert train_head(X, y, without, HeadOptions(head="logreg")).record.certainty is None
    assert train_head(X, y, without, HeadOptions(head="auto")).record.certainty is not None
