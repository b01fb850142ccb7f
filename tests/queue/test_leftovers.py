"""What a script must not leave behind, order twice, or do to a job that it does not concern."""

import pytest

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import NotRetried, UnknownJob
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import Clock
from tests.queue.ledgers import DONE, SPEC, OwnQueue, taken, watched


def test_a_committed_chunk_leaves_neither_its_troubles_nor_its_progress(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.worked_on("a", 2)
    ledger.release_after_fault(taken(ledger, job), "OSError: a cable")
    clock.pass_s(2)
    lease = taken(ledger, job)
    ledger.renew([(lease, {"texts": 5})])
    assert queue.client.hlen(f"jdq:job:{job}:troubles") == 1
    assert queue.jobbook.job(job).live == [{"texts": 5}]
    ledger.commit(lease, DONE)
    assert queue.client.hlen(f"jdq:job:{job}:troubles") == 0
    assert queue.jobbook.job(job).live == []


def test_a_job_that_goes_on_on_another_queue_is_listed_there_only(queue: OwnQueue) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    assert queue.client.smembers("jdq:open:cpu:5") == {job}
    ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=2, queue="gpu")))
    assert queue.client.smembers("jdq:open:cpu:5") == set()
    assert queue.client.smembers("jdq:open:gpu:5") == {job}


def test_a_job_that_fails_while_its_leases_expire_keeps_the_reason(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.worked_on("a", 3)
    for _ in range(9):
        assert taken(ledger, job).chunk == 1
        assert watched(ledger, clock, 60) == 1
    assert [taken(ledger, job).chunk for _ in range(3)] == [1, 2, 3]
    assert watched(ledger, clock, 60) == 1  # the job ends with the first of the three
    error = queue.jobbook.job(job).error
    assert error is not None
    assert (error.type, "lost its worker 10 times" in error.message) == ("GaveUp", True)


def test_a_job_without_pending_chunks_gets_no_tickets(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    lease = taken(ledger, job)
    for _ in range(10):
        clock.pass_s(5)
        assert ledger.reclaim_expired() == (0, [])
        ledger.renew([(lease, None)])


def test_an_idle_worker_is_sent_one_ticket_though_several_jobs_lack_one(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("a")
    ledger.heartbeat({"queue": "cpu"})
    for _ in range(3):
        queue.jobbook.create(SPEC)
    assert sum(order.count for order in ledger.reclaim_expired()[1]) == 1


def test_only_a_failed_or_cancelled_job_is_retried(queue: OwnQueue) -> None:
    ledger = queue.ledger("a")
    with pytest.raises(UnknownJob):
        queue.jobbook.retry("nope")
    with pytest.raises(UnknownJob):
        queue.jobbook.job("nope")
    job = queue.job()
    with pytest.raises(NotRetried, match=f"^job {job} is running: only a failed or cancelled job can be retried$"):
        queue.jobbook.retry(job)
    ledger.commit(taken(ledger, job), DONE)
    with pytest.raises(NotRetried, match="is succeeded"):
        queue.jobbook.retry(job)
    assert queue.jobbook.job(job).state is JobState.SUCCEEDED


def test_a_retry_is_in_the_jobs_log(queue: OwnQueue) -> None:
    job = queue.job()
    queue.jobbook.cancel(job)
    queue.jobbook.retry(job)
    assert [event["what"] for event in queue.jobbook.job(job).log] == ["retry"]


def test_the_chunk_at_which_a_job_was_given_up_is_tried_again_after_a_retry(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.worked_on("a", 2)
    for _ in range(3):
        lease = taken(ledger, job)
        assert lease.chunk == 1
        ledger.release_after_fault(lease, "OSError: a cable")
        clock.pass_s(60)
    assert queue.jobbook.job(job).state is JobState.FAILED
    ledger.recover()
    queue.jobbook.retry(job)
    assert [taken(ledger, job).chunk for _ in range(2)] == [1, 2]


def test_a_worker_that_leaves_a_job_sends_a_ticket_for_a_chunk_that_was_returned(queue: OwnQueue, clock: Clock) -> None:
    ledger, other = queue.ledger("a"), queue.ledger("b")
    job = queue.planned(ledger, 1)
    ledger.release(taken(ledger, job), "the worker is stopping")
    assert [order.count for order in ledger.mark_idle(job)] == [1]
    for worker in (ledger, other):
        worker.heartbeat({"queue": "cpu"})
    ledger.release_after_fault(taken(ledger, job), "OSError: a cable")
    clock.pass_s(1)
    assert ledger.mark_idle(job) == []
    assert [order.count for order in other.mark_idle(job)] == [1]


def test_a_job_from_which_nobody_takes_gets_its_ticket_also_while_others_wait(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("a")
    job, other = queue.job(), queue.job()
    taken(ledger, other)
    queue.client.lpush("cpu", "a ticket of the other job")
    clock.pass_s(11)
    assert [(order.job, order.count) for order in ledger.reclaim_expired()[1]] == [(job, 1)]
