"""Canary texts: a worker whose features differ is quarantined, and its chunk goes to another one."""

from __future__ import annotations

import numpy as np
import pytest

from jdq.worker.encoder import hashing
from jdq.worker.jobs.canary import Answer, trusted
from jdq.worker.queue.contract import Extract, JobState
from tests.jobs.cases import csv_of, labelled
from tests.jobs.conftest import Workplace

SOUND = np.array([1.0, -2.0, 3.0])
FLIPPED = np.array([1.0, -2.0, 3.5])


def answers(*features: np.ndarray) -> list[Answer]:
    """In the order in which they came."""
    return [Answer(float(n), list(row)) for n, row in enumerate(features)]


@pytest.mark.parametrize(
    ("mine", "others", "sound"),
    [
        (SOUND, [], True),
        (SOUND, [SOUND, SOUND], True),
        (SOUND * 1.001, [SOUND], True),
        (FLIPPED, [SOUND], False),
        (FLIPPED, [SOUND, SOUND], False),
        (SOUND, [FLIPPED, SOUND], True),
        (SOUND[:2], [SOUND], False),
    ],
)
def test_a_worker_is_trusted_unless_a_majority_or_an_earlier_one_differs(
    mine: np.ndarray, others: list[np.ndarray], sound: bool
) -> None:
    assert trusted(mine, Answer(9.0, list(mine)), answers(*others), 0.01) is sound


def test_a_worker_whose_features_are_no_longer_its_own_is_not_trusted() -> None:
    assert not trusted(FLIPPED, Answer(0.0, list(SOUND)), answers(FLIPPED, FLIPPED), 0.01)


def test_the_first_of_two_that_differ_is_trusted() -> None:
    assert trusted(SOUND, Answer(-1.0, list(SOUND)), answers(FLIPPED), 0.01)


def test_a_worker_with_a_flipped_bit_is_quarantined_and_no_wrong_feature_is_stored(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = workplace.imported(csv_of(labelled(50)))
    first = workplace.finished(Extract(dataset=version.name, version=version.version, encoder="hash:8"))
    assert first.state is JobState.SUCCEEDED
    more = workplace.imported(csv_of([(f"more {n}", "ab"[n % 2]) for n in range(50)]), "more")
    job, _ = workplace.jobbook.create(Extract(dataset="more", version=more.version, encoder="hash:8"))
    workplace.work_on(job, "cpu")
    sound = hashing.hashed_feature

    def flipped(text: str, dim: int) -> np.ndarray:
        feature = sound(text, dim)
        feature[3] += 64
        return feature

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "hashed_feature", flipped)
        workplace.work_on(job, "gpu", worker="bad")
    assert "canary" in workplace.jobbook.job(job).log[0]["reason"]
    workplace.client.zadd(f"jdq:job:{job}:delayed", {"1": 0}, xx=True)
    workplace.work_on(job, "gpu", worker="bad")
    assert workplace.jobbook.job(job).state is JobState.RUNNING
    workplace.work_on(job, "gpu")
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED
    features, _, _ = workplace.store.load("more")
    assert (features == np.array([sound(f"more {n}", 8) for n in range(50)])).all()


def test_a_worker_with_no_finite_feature_at_all_is_quarantined_and_the_job_goes_on(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = workplace.imported(csv_of(labelled(50)))
    job, _ = workplace.jobbook.create(Extract(dataset=version.name, version=version.version, encoder="hash:8"))
    workplace.work_on(job, "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "hashed_feature", lambda text, dim: np.full(dim, np.nan))
        workplace.work_on(job, "gpu", worker="bad")
    assert "not finite" in workplace.jobbook.job(job).log[0]["reason"]
    workplace.client.zadd(f"jdq:job:{job}:delayed", {"1": 0}, xx=True)
    workplace.work_on(job, "gpu")
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED
