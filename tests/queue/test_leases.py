"""Leases: renewed while the work goes on, taken back and counted where a worker stops."""

import pytest

from jdq.worker.queue.contract import JobState
from tests.queue.conftest import Clock
from tests.queue.ledgers import DONE, OwnQueue, taken, watched


def test_an_expired_chunk_goes_to_the_front_and_its_late_commit_does_not_count(queue: OwnQueue, clock: Clock) -> None:
    asleep, awake = queue.ledger("asleep"), queue.ledger("awake")
    job = queue.planned(awake, 3)
    late = taken(asleep, job)
    assert watched(awake, clock, 59) == 0
    assert watched(awake, clock, 1) == 1
    again = taken(awake, job)
    assert (again.chunk, again.attempt) == (late.chunk, 2)
    assert asleep.renew([(late, None)]) == ["lost"]
    assert asleep.commit(late, DONE).answer == "lost"
    assert awake.commit(again, DONE).answer == "done"
    assert "asleep stopped sending heartbeats" in queue.jobbook.job(job).log[0]["reason"]


def test_renewals_keep_a_lease_for_as_long_as_the_work_takes(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    lease = taken(ledger, job)
    for _ in range(4):
        assert watched(queue.ledger("b"), clock, 55) == 0
        assert ledger.renew([(lease, {"texts": 5})]) == ["ok"]
    assert queue.jobbook.job(job).live == [{"texts": 5}]
    assert ledger.commit(lease, DONE).answer == "last"


def test_a_chunk_whose_lease_is_lost_ten_times_fails_its_job_with_the_reason(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("victim"), queue.job()
    for _ in range(10):
        assert queue.jobbook.job(job).state is not JobState.FAILED
        taken(ledger, job)
        assert watched(ledger, clock, 60) == 1
    failed = queue.jobbook.job(job)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert "lost its worker 10 times" in failed.error.message
    assert "victim stopped sending heartbeats" in failed.error.message


def test_lost_leases_of_a_training_that_gets_further_each_time_are_not_added_up(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    for step in range(10, 310, 10):
        lease = taken(ledger, job)
        ledger.renew([(lease, {"step": step})])
        assert watched(ledger, clock, 60) == 1
    lease = taken(ledger, job)
    assert lease.attempt == 31
    assert ledger.commit(lease, DONE).answer == "last"


def test_lost_leases_that_get_no_further_than_before_are_added_up(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    for step in (30, *range(20, 29)):
        lease = taken(ledger, job)
        ledger.renew([(lease, {"step": step})])
        assert watched(ledger, clock, 60) == 1
    assert queue.jobbook.job(job).state is JobState.FAILED


def test_faults_and_lost_leases_are_counted_apart(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    for _ in range(2):
        ledger.release_after_fault(taken(ledger, job), "OSError: a cable")
        clock.pass_s(8)
        taken(ledger, job)
        assert watched(ledger, clock, 60) == 1
    assert queue.jobbook.job(job).state is JobState.RUNNING
    ledger.release_after_fault(taken(ledger, job), "OSError: a cable")
    failed = queue.jobbook.job(job)
    assert failed.error is not None
    assert failed.error.message == "chunk 0 failed 3 times; the last time: OSError: a cable"


@pytest.mark.parametrize("asleep_s", [31, 3600, -3600])
def test_a_machine_that_slept_and_a_clock_that_was_set_cost_no_lease(
    queue: OwnQueue, clock: Clock, asleep_s: float
) -> None:
    ledger, other = queue.ledger("a"), queue.ledger("b")
    job = queue.job()
    lease = taken(ledger, job)
    clock.pass_s(asleep_s)
    assert other.reclaim_expired()[0] == 0
    clock.pass_s(3)
    assert ledger.renew([(lease, None)]) == ["ok"]
    assert watched(other, clock, 55) == 0
    assert ledger.commit(lease, DONE).answer == "last"
    assert queue.jobbook.job(job).log == []


@pytest.mark.parametrize("asleep_s", [31, 3600, -3600])
def test_a_worker_that_did_not_wake_up_loses_its_chunk_one_lease_later(
    queue: OwnQueue, clock: Clock, asleep_s: float
) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    taken(ledger, job)
    clock.pass_s(asleep_s)
    assert ledger.reclaim_expired()[0] == 0
    assert watched(ledger, clock, 55) == 0
    assert watched(ledger, clock, 5) == 1


def test_a_fault_is_tried_again_later_and_a_release_is_no_attempt(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    for _ in range(20):
        ledger.release(taken(ledger, job), "told to stop")
    lease = taken(ledger, job)
    assert lease.attempt == 1
    ledger.release_after_fault(lease, "OSError: disk full")
    assert ledger.next(job) is None
    clock.pass_s(1)
    lease = taken(ledger, job)
    assert lease.attempt == 2
    assert queue.jobbook.job(job).chunks_delayed == 0
    ledger.commit(lease, DONE)
    assert ledger.client.exists(f"jdq:job:{job}:troubles") == 0
