"""Canary texts: a worker whose features differ is quarantined, and its chunk goes to another one."""

import time

import numpy as np
import pytest

from jdq.worker.encoder import hashing
from jdq.worker.encoder.hashing import HashEncoder
from jdq.worker.jobs.canary import AGREED, Answer, check_canary, trusted
from jdq.worker.process.errors import WorkerSick
from jdq.worker.queue.contract import Extract, JobState
from jdq.worker.queue.limits import LIMITS
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


@pytest.mark.parametrize(
    ("others", "sound"),
    [([], False), ([SOUND], False), ([FLIPPED], True), ([FLIPPED, SOUND], False), ([FLIPPED, SOUND, FLIPPED], True)],
)
def test_features_that_are_no_longer_the_workers_own_need_a_majority_of_the_others(
    others: list[np.ndarray], sound: bool
) -> None:
    assert trusted(FLIPPED, Answer(0.0, list(SOUND)), answers(*others), 0.01) is sound


def test_the_first_of_two_that_differ_is_trusted() -> None:
    assert trusted(SOUND, Answer(-1.0, list(SOUND)), answers(FLIPPED), 0.01)


class Fleet:
    """Workers that answer one after another, each with a real encoder and the real ledger."""

    def __init__(self, workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
        self._workplace = workplace
        self._patch = monkeypatch

    def starts(self, *workers: str) -> None:
        """Their main processes start and send heartbeats."""
        for worker in workers:
            self._workplace.runtime("gpu", worker).ledger.heartbeat({"started": time.time()})

    def is_trusted(self, worker: str, *, flipped: bool = False) -> bool:
        """Whether a fresh working process of the worker passes the comparison."""
        runtime, encoder = self._workplace.runtime("gpu", worker), HashEncoder("hash:8", max_length=None)
        with self._patch.context() as patch:
            if flipped:
                patch.setattr(hashing, "hashed_feature", with_flipped_bit)
            try:
                check_canary(runtime, encoder, "space", encoder.space())
            except WorkerSick:
                return False
        return True


sound_feature = hashing.hashed_feature


def with_flipped_bit(text: str, dim: int) -> np.ndarray:
    feature = sound_feature(text, dim)
    feature[3] += 64
    return feature


@pytest.fixture
def fleet(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(workplace, monkeypatch)


def test_a_worker_whose_first_answer_was_wrong_is_trusted_once_it_answers_as_the_others(fleet: Fleet) -> None:
    fleet.starts("a", "b", "c")
    assert fleet.is_trusted("a", flipped=True)  # nobody knows better
    assert not fleet.is_trusted("b")
    assert fleet.is_trusted("c")
    assert fleet.is_trusted("b")
    assert not fleet.is_trusted("a", flipped=True)
    assert fleet.is_trusted("a")
    assert not fleet.is_trusted("a", flipped=True)


def test_a_worker_whose_features_change_is_sick_in_a_fresh_process_too(fleet: Fleet) -> None:
    fleet.starts("a")
    assert fleet.is_trusted("a")
    for _ in range(3):
        assert not fleet.is_trusted("a", flipped=True)
    assert fleet.is_trusted("a")


def test_a_restart_forgets_the_workers_own_answer(fleet: Fleet) -> None:
    fleet.starts("a")
    assert fleet.is_trusted("a")
    fleet.starts("a")
    assert fleet.is_trusted("a", flipped=True)


def test_what_two_workers_agreed_on_outlives_their_restarts_and_is_stronger_than_a_majority(fleet: Fleet) -> None:
    fleet.starts("a", "b")
    assert fleet.is_trusted("a")
    assert fleet.is_trusted("b")
    fleet.starts("a", "b", "c", "d")
    for worker in "abc":
        assert not fleet.is_trusted(worker, flipped=True)
    assert fleet.is_trusted("d")


def test_one_worker_agrees_with_nobody(fleet: Fleet) -> None:
    fleet.starts("a", "b")
    for _ in range(2):
        assert fleet.is_trusted("a", flipped=True)
    fleet.starts("a")
    assert fleet.is_trusted("b")
    assert fleet.is_trusted("a")
    assert not fleet.is_trusted("a", flipped=True)


def test_a_worker_that_is_gone_has_no_say(fleet: Fleet, workplace: Workplace) -> None:
    fleet.starts("a", "b", "c")
    assert fleet.is_trusted("a")
    assert not fleet.is_trusted("b", flipped=True)
    silent_since = 1000 * time.time() - LIMITS.worker_timeout_ms - 1000
    workplace.client.zadd("jdq:workers:seen", {"a-gpu": silent_since})
    assert fleet.is_trusted("b", flipped=True)
    workplace.runtime("gpu", "a").ledger.deregister()
    assert fleet.is_trusted("c", flipped=True)
    assert set(workplace.client.hkeys("jdq:canaries:space")) == {"b-gpu", "c-gpu", AGREED}


def test_a_worker_with_a_flipped_bit_is_quarantined_and_no_wrong_feature_is_stored(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, fleet: Fleet
) -> None:
    fleet.starts("worker", "bad")
    version = workplace.imported(csv_of(labelled(50)))
    first = workplace.finished(Extract(dataset=version.name, version=version.version, encoder="hash:8"))
    assert first.state is JobState.SUCCEEDED
    more = workplace.imported(csv_of([(f"more {n}", "ab"[n % 2]) for n in range(50)]), "more")
    job, _ = workplace.jobbook.create(Extract(dataset="more", version=more.version, encoder="hash:8"))
    workplace.work_on(job, "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "hashed_feature", with_flipped_bit)
        workplace.work_on(job, "gpu", worker="bad")
    assert "canary" in workplace.jobbook.job(job).log[0]["reason"]
    workplace.client.zadd(f"jdq:job:{job}:delayed", {"1": 0}, xx=True)
    workplace.work_on(job, "gpu", worker="bad")
    assert workplace.jobbook.job(job).state is JobState.RUNNING
    workplace.work_on(job, "gpu")
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED
    features, _, _ = workplace.store.load("more")
    assert (features == np.array([sound_feature(f"more {n}", 8) for n in range(50)])).all()


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
