"""Confident learning, compared with cleanlab, and probabilities of rows that a head did not learn from."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from jdq.worker.heads.errors import TooFewRows
from jdq.worker.heads.features import no_check
from jdq.worker.heads.fitted import FitContext, row_keys
from jdq.worker.heads.held_out import held_out_probabilities
from jdq.worker.heads.label_errors import confident_classes, find_suspects, joint_counts
from jdq.worker.heads.labels import Targets
from jdq.worker.heads.options import HeadOptions


def noisy(seed: int, rows: int = 300, classes: int = 4) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Labels of which some are wrong, and probabilities that are mostly right."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=rows)
    scores = 2.5 * np.eye(classes)[true] + rng.normal(size=(rows, classes))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    wrong = rng.random(rows) < 0.15
    return np.where(wrong, rng.integers(classes, size=rows), true), probabilities


@pytest.mark.parametrize("seed", range(5))
def test_the_joint_and_the_suspects_are_those_of_cleanlab(seed: int) -> None:
    from cleanlab.count import compute_confident_joint, num_label_issues
    from cleanlab.filter import find_label_issues

    codes, probabilities = noisy(seed)
    joint = joint_counts(codes, confident_classes(codes, probabilities), 4)
    # cleanlab rounds to whole rows
    assert np.abs(joint - compute_confident_joint(codes, probabilities, calibrate=True)).max() <= 1.0
    found = find_suspects(codes, probabilities)
    ranked = find_label_issues(
        codes, probabilities, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    assert found.rows.tolist() == ranked.tolist()
    assert (found.suggested == probabilities[found.rows].argmax(axis=1)).all()
    assert np.allclose(found.given_probability, probabilities[found.rows, codes[found.rows]])
    assert np.allclose(found.suggested_probability, probabilities[found.rows].max(axis=1))
    assert found.estimated == pytest.approx(
        num_label_issues(codes, probabilities, estimation_method="off_diagonal_calibrated"), abs=4
    )


def test_a_class_that_no_row_is_labelled_as_is_never_suggested_with_confidence() -> None:
    codes, probabilities = noisy(0)
    without = np.where(codes == 3, 0, codes)
    counted = confident_classes(without, np.where(np.arange(4) == 3, 0.0, probabilities))
    assert 3 not in counted
    joint = joint_counts(without, counted, 4)
    assert joint.sum(axis=1).tolist() == pytest.approx(np.bincount(without, minlength=4).tolist())


def test_a_row_whose_label_no_head_could_learn_is_no_suspect() -> None:
    codes, probabilities = noisy(1)
    found = find_suspects(codes, probabilities)
    known = np.ones(probabilities.shape, dtype=bool)
    known[found.rows[0], codes[found.rows[0]]] = False
    assert found.rows[0] not in find_suspects(codes, probabilities, known).rows


def test_of_label_sets_each_label_is_judged_by_itself() -> None:
    rng = np.random.default_rng(0)
    true = rng.random((200, 3)) < 0.4
    probabilities = np.where(true, 0.9, 0.1) + rng.uniform(-0.05, 0.05, size=(200, 3))
    codes = true.copy()
    codes[5, 1] ^= True
    codes[9, 0] ^= True
    codes[9, 2] ^= True
    probabilities[[5, 9]] = np.where(true[[5, 9]], 0.97, 0.03)
    found = find_suspects(codes, probabilities)
    assert set(found.rows.tolist()) == {5, 9}
    assert (found.suggested == true[found.rows]).all()
    given = np.where(codes, probabilities, 1 - probabilities)
    assert np.allclose(found.given_probability, given[found.rows].min(axis=1))
    assert found.given_probability[0] <= found.given_probability[1]
    of_each = [
        find_suspects(codes[:, n].astype(int), np.stack([1 - of, of], axis=1)).estimated
        for n, of in enumerate(probabilities.T)
    ]
    assert found.estimated == pytest.approx(sum(of_each))


def context(codes: npt.NDArray[Any], X: npt.NDArray[Any], keys: Any = None, **options: Any) -> FitContext:
    classes = tuple("abcdef"[: codes.max() + 1])
    return FitContext(
        X=X.astype(np.float32),
        targets=Targets(classes=classes, codes=codes.astype(np.int64)),
        train=np.arange(len(codes)),
        validation=np.arange(0),
        options=HeadOptions(head="auto", **options),
        check=options.pop("check", no_check),
        keys=row_keys(len(codes)) if keys is None else keys,
    )


def blobs(rows: int = 120) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    codes = np.arange(rows) % 3
    return codes, 3 * np.eye(3)[codes] + rng.normal(size=(rows, 3))


def test_no_row_is_judged_by_a_head_that_learnt_from_its_text() -> None:
    _, X = blobs()
    keys = row_keys(120)
    keys[1::2] = keys[::2]  # each text twice, with the features of its first row
    X[1::2] = X[::2]
    random = np.random.default_rng(1).integers(3, size=60).repeat(2)  # nothing to learn but the texts themselves
    held_out = held_out_probabilities(context(random, X, keys), 5)
    assert (held_out.probabilities.argmax(axis=1) == random).mean() < 0.55
    assert held_out.probabilities.shape == (120, 3)
    assert held_out.known.all()


def test_the_probabilities_are_those_of_one_choice_and_follow_the_seed() -> None:
    codes, X = blobs()
    first, again, other = (held_out_probabilities(context(codes, X, seed=seed), 4) for seed in (0, 0, 1))
    assert (first.probabilities == again.probabilities).all()
    assert (first.probabilities != other.probabilities).any()
    assert first.params["C"] is not None
    assert (first.probabilities.argmax(axis=1) == codes).mean() > 0.85


def test_progress_only_grows_and_ends_complete() -> None:
    codes, X = blobs()
    shares: list[float] = []
    made = dataclasses.replace(context(codes, X), check=lambda done, total: shares.append(done / total))
    held_out_probabilities(made, 4)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_class_of_one_text_is_unknown_to_the_head_that_judges_it() -> None:
    codes, X = blobs(30)
    codes[7] = 3
    held_out = held_out_probabilities(context(codes, X), 5)
    assert not held_out.known[7, 3]
    assert held_out.known[np.arange(30) != 7][:, :3].all()


def test_more_folds_than_texts_are_an_error() -> None:
    codes, X = blobs(6)
    with pytest.raises(TooFewRows):
        held_out_probabilities(context(codes, X), 7)
