"""The chunk loop: it does every chunk, and reports every end of one to the ledger."""

from __future__ import annotations

import time

import pytest
import redis

from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import JobState, Predict
from jdq.worker.queue.ledger import Lease, Outcome
from tests.jobs.chunks import SPEC, Work, loop, make_due, nothing, planned, run
from tests.jobs.conftest import Workplace
from tests.waiting import until


def test_an_unexpected_error_is_tried_again_and_named(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)

    def fails(held: HeldLease) -> None:
        raise ZeroDivisionError("of the device")

    run(workplace, job, fails)
    found = workplace.jobbook.job(job)
    assert found.state is JobState.RUNNING
    assert found.log[0]["reason"] == "ZeroDivisionError: of the device"


def test_all_chunks_of_a_job_are_committed_in_one_time_slice(workplace: Workplace) -> None:
    job = planned(workplace, 40)
    run(workplace, job, nothing)
    found = workplace.jobbook.job(job)
    assert (found.state, found.chunks_done) == (JobState.SUCCEEDED, 41)


def test_one_failing_chunk_does_not_keep_the_others_from_being_done(workplace: Workplace) -> None:
    job = planned(workplace, 5)

    def fails_once(held: HeldLease) -> None:
        if held.lease.chunk == 2 and held.lease.attempt == 1:
            raise OSError("a cable")

    run(workplace, job, fails_once)
    assert workplace.jobbook.job(job).chunks_done == 5
    make_due(workplace, job, chunk=2)
    run(workplace, job, fails_once)
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED


def test_a_chunk_that_was_tried_before_runs_alone(workplace: Workplace) -> None:
    job = planned(workplace, 6)
    leased: list[int] = []

    def fails_once(held: HeldLease) -> None:
        if held.lease.chunk == 1 and held.lease.attempt == 1:
            raise OSError("a cable")
        if held.lease.chunk == 2:
            make_due(workplace, job, chunk=1)
        if held.lease.attempt == 2:
            leased.append(workplace.jobbook.job(job).chunks_leased)
            time.sleep(0.3)  # in which a look-ahead would take the next chunk
            leased.append(workplace.jobbook.job(job).chunks_leased)

    def slowly(lease: Lease) -> Outcome:
        time.sleep(0.2)  # in which the loop would take the next chunk
        if lease.attempt == 2:
            leased.append(workplace.jobbook.job(job).chunks_leased)
        return Outcome()

    loop(workplace, job, lambda lease: Work(fails_once, lambda: slowly(lease)))
    assert leased == [1, 1, 1]
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED


def test_the_lease_of_a_chunk_that_was_given_up_is_not_renewed(workplace: Workplace) -> None:
    job = planned(workplace, 2)
    expiries: list[float | None] = []

    def unreachable() -> Outcome:
        raise redis.ConnectionError("the ledger is away")

    def watches(held: HeldLease) -> None:
        if held.lease.chunk == 2:
            for _ in range(2):
                time.sleep(0.3)  # several heartbeats
                expiries.append(workplace.client.zscore(f"jdq:job:{job}:leases", "1"))

    loop(workplace, job, lambda lease: Work(watches, unreachable if lease.chunk == 1 else Outcome))
    first, second = expiries
    assert first == second is not None
    assert workplace.jobbook.job(job).chunks_done == 2


def test_an_error_in_choosing_a_chunks_work_fails_the_job(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(Predict(dataset="d", version="v"))
    workplace.work_on(job, "cpu")
    error = workplace.jobbook.job(job).error
    assert error is not None
    assert "either a head or a model" in error.message


@pytest.mark.parametrize("texts", [3, 5])
def test_a_chunks_progress_is_visible_while_it_is_computed(workplace: Workplace, texts: int) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    seen: list[dict[str, int]] = []

    def reports(held: HeldLease) -> None:
        held.after_batch(texts, 10 * texts)
        seen.extend(until(lambda: workplace.jobbook.job(job).live, within_s=10, why="the progress is reported"))

    run(workplace, job, reports)
    assert seen == [{"texts": texts, "tokens": 10 * texts}]
