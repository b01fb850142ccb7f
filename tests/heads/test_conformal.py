"""Abstention and sets of labels: the promised share is right, also where texts repeat."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from jdq.worker.heads.certainty import PERCENTS, Certainty, Requested, check_requested, place_of
from jdq.worker.heads.conformal import Certain, certain, certainty_of_rows, choose_certainty
from jdq.worker.heads.decision import best_thresholds
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
    assert 0.88 <= np.mean([of["covered"] for of in found]) <= 0.92
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
    assert often.answers == once.answers


def test_the_rows_of_a_text_are_in_its_sets_together_so_the_share_is_the_nearest() -> None:
    """Of 20 texts of 10 rows each and one more, 87 % are 18.3 and 89 % are 18.7."""
    text_of, reached = np.repeat(np.arange(20), 10), np.linspace(0.9, 0.1, 20)
    probabilities = np.stack([reached, 1 - reached], axis=1)[text_of]
    certainty = choose_certainty(np.zeros(200, dtype=np.intp), probabilities, row_keys(20)[text_of])
    assert certainty is not None
    assert (certainty.least_in_set(0.87), certainty.least_in_set(0.89)) == (reached[17], reached[18])


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
    known = {"certainty": {"rows": 9}}
    check_requested(Requested(), {}, "h")
    check_requested(Requested(sets=0.5, abstain_at=0.99), known, "h")
    with pytest.raises(BadParameter):
        check_requested(Requested(sets=0.4), known, "h")
    with pytest.raises(BadParameter):
        check_requested(Requested(abstain_at=0.4), known, "h")
    with pytest.raises(NoCertainty, match="h does not know how certain it is"):
        check_requested(Requested(abstain_at=0.9), {}, "h")


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


def test_rows_of_one_text_make_every_interval_wider() -> None:
    codes, probabilities, _ = drawn(np.random.default_rng(7), 200)
    least = Certain(least_to_answer=0.4, least_in_set=0.2)
    once, often = (
        certainty_of_rows(codes, probabilities, row_keys(200)[of], least)
        for of in (np.arange(200), np.arange(200) % 20)
    )
    for name in ("answered_interval", "right_interval", "covered_interval"):
        assert often[name][1] - often[name][0] > 1.5 * (once[name][1] - once[name][0])


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


def test_of_label_sets_a_trained_head_promises_what_its_thresholds_predict() -> None:
    codes, probabilities, keys = drawn_sets(np.random.default_rng(4), 600)
    y = ["|".join(np.array(list("abcdef"))[row]) for row in codes]
    split = make_split(y, keys, label_separator="|")
    trained = train_head(
        probabilities.astype(np.float32), y, split, HeadOptions(head="logreg", label_separator="|"), keys=keys
    )
    rows = split.rows(VALIDATION)
    of = codes[rows], trained.predict_proba(probabilities[rows].astype(np.float32)), keys[rows]
    assert trained.record.certainty == choose_certainty(*of, trained.record.thresholds) != choose_certainty(*of)


def test_heads_without_rows_left_promise_nothing() -> None:
    X = np.random.default_rng(5).normal(size=(60, 4)).astype(np.float32)
    y = ["ab"[n % 2] for n in range(60)]
    split = make_split(y, row_keys(60))
    without = dataclasses.replace(split, parts=np.where(split.parts == VALIDATION, np.uint8(TRAIN), split.parts))
    assert train_head(X, y, without, HeadOptions(head="logreg")).record.certainty is None
    assert train_head(X, y, without, HeadOptions(head="auto")).record.certainty is not None


def drawn_sets(rng: np.random.Generator, texts: int, sizes: tuple[int, ...] = (1,)) -> Drawn:
    """Rows of none to six labels, of which a text has more or fewer together."""
    together = rng.normal(size=(texts, 1))
    true = np.linspace(0, -2, 6) + 0.7 * together + rng.normal(size=(texts, 6)) > 0
    scores = 4 * true - 2 + rng.normal(size=(texts, 6)) + 0.5 * rng.normal(size=(texts, 1))
    text_of = np.repeat(np.arange(texts), rng.choice(sizes, texts))
    return true[text_of], (1 / (1 + np.exp(-scores / 2)))[text_of], row_keys(texts)[text_of]


@pytest.mark.parametrize(("sizes", "most"), [((1,), 0.92), ((1, 1, 2, 3, 6, 12), 0.925)], ids=["once", "repeated"])
def test_the_promised_share_of_a_rows_labels_is_in_its_set(sizes: tuple[int, ...], most: float) -> None:
    rng = np.random.default_rng(0)
    codes, probabilities, keys = drawn_sets(rng, 10_000, sizes)
    found = []
    for _ in range(100):
        true, of, texts = drawn_sets(rng, 200, sizes)
        thresholds = best_thresholds(true, of)
        certainty = choose_certainty(true, of, texts, thresholds)
        assert certainty is not None
        least = certain(Requested(abstain_at=0.9, sets=0.9), certainty)
        found.append(certainty_of_rows(codes, probabilities, keys, least, thresholds))
    assert 0.89 <= np.mean([of["covered"] for of in found]) <= most
    answering = [of for of in found if of["right"] is not None]
    assert len(answering) > 50
    assert np.mean([of["right"] < 0.9 for of in answering]) <= 0.15  # of a confidence of 90 %
    assert np.mean([of["answered"] for of in found]) > 0.3


def test_of_label_sets_each_row_counts_once_and_those_without_a_label_not_at_all() -> None:
    """At 50 %, of three rows with labels and one more, two must be covered: one and a half are by 0.4, two by 0.3."""
    codes = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.3, 0.0], [0.4, 0.0, 0.0], [0.0, 0.0, 0.2], [0.99, 0.99, 0.99]])
    certainty = choose_certainty(codes, probabilities, row_keys(4))
    assert certainty is not None
    assert certainty.least_in_set(0.5) == 0.3
    assert certainty.least_in_set(0.75) == 0.2
    assert certainty.least_in_set(0.76) == 0.0
    assert (certainty.rows, certainty.texts) == (4, 4.0)
    assert choose_certainty(codes[3:], probabilities[3:], row_keys(1)) is None


def test_predicted_labels_are_given_and_the_labels_of_one_row_count_as_one() -> None:
    codes, probabilities = np.ones((30, 4), dtype=bool), np.full((30, 4), 0.8)
    certainty = choose_certainty(codes, probabilities, row_keys(30))
    assert certainty is not None
    # 30 without an error are at least 92 % right with a confidence of 90 %; 120 would be 98 %.
    assert (certainty.least_to_answer(0.92), certainty.least_to_answer(0.93)) == (0.8, np.inf)
    none = choose_certainty(codes, probabilities, row_keys(30), (0.9,) * 4)
    assert none is not None
    assert set(none.answers) == {None}
    half_wrong = choose_certainty(codes & [True, True, False, False], probabilities, row_keys(30), (0.5, 0.5, 0.9, 0.9))
    assert half_wrong is not None
    assert half_wrong.answers == certainty.answers


def test_of_label_sets_what_was_promised_is_measured_label_by_label() -> None:
    codes = np.array([[1, 1], [1, 0], [0, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.2], [0.6, 0.7], [0.4, 0.1]])
    found = certainty_of_rows(
        codes, probabilities, row_keys(3), Certain(least_to_answer=0.6, least_in_set=0.3), (0.5, 0.5)
    )
    assert found["answered"] == found["right"] == pytest.approx(2 / 3)
    assert found["covered"] == 0.75
    assert (found["set_size"], found["empty"]) == (pytest.approx(4 / 3), 0.0)
    strict = certainty_of_rows(
        codes, probabilities, row_keys(3), Certain(least_to_answer=0.5, least_in_set=1.0), (0.65, 2)
    )
    assert (strict["answered"], strict["right"], strict["covered"]) == (pytest.approx(1 / 3), 1.0, 0.0)
    none = certainty_of_rows(codes[2:], probabilities[2:], row_keys(1), Certain(least_to_answer=0.5, least_in_set=0.5))
    assert (none["covered"], none["covered_interval"], none["right"]) == (None, None, None)


@pytest.mark.parametrize("head", ["auto", "logreg"])
def test_a_head_of_label_sets_keeps_what_it_promises(head: str) -> None:
    rng = np.random.default_rng(6)
    codes = rng.random((3000, 3)) < [0.5, 0.3, 0.1]
    X = (1.3 * codes @ np.eye(3, 12) + rng.normal(size=(3000, 12))).astype(np.float32)
    y = ["|".join("abc"[n] for n in np.flatnonzero(row)) for row in codes]
    split = make_split(y, row_keys(3000), label_separator="|")
    trained = train_head(X, y, split, HeadOptions(head=head, label_separator="|"), keys=row_keys(3000))
    record, test = trained.record, split.rows(TEST)
    assert record.certainty is not None
    least = certain(Requested(abstain_at=0.8, sets=0.9), record.certainty)
    proba = trained.predict_proba(X[test])
    found = certainty_of_rows(codes[test], proba, row_keys(len(test)), least, record.thresholds)
    assert 0.87 <= found["covered"] <= 0.94
    assert found["right"] is None or found["right"] >= 0.75
