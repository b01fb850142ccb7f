"""Jobs that wait for others, and jobs that are retried."""

import pytest

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import DependencyEnded, JobBook, NotRetried
from jdq.worker.queue.ledger import Outcome
from tests.queue.ledgers import DONE, SPEC, OwnQueue, taken


def test_a_job_waits_for_another_and_starts_once(queue: OwnQueue) -> None:
    ledger, first = queue.ledger("a"), queue.job()
    second, tickets = queue.jobbook.create(SPEC, after=[first])
    assert tickets == []
    assert ledger.next(second) is None
    assert queue.jobbook.job(second).waits_for == [first]
    lease = taken(ledger, first)
    assert [ticket.job for ticket in ledger.commit(lease, DONE).tickets] == [second]
    ledger.commit(lease, DONE)
    assert ledger.next(second) is not None
    assert ledger.next(second) is None


def test_what_waits_for_a_failed_job_fails_with_it(queue: OwnQueue) -> None:
    ledger, first = queue.ledger("a"), queue.job()
    second = queue.job(after=[first])
    third = queue.job(after=[second])
    ledger.fail(taken(ledger, first), {"type": "E", "message": "no"})
    for job in (second, third):
        assert queue.jobbook.job(job).state is JobState.FAILED
    with pytest.raises(DependencyEnded):
        queue.jobbook.create(SPEC, after=[first])


def test_a_retried_job_keeps_its_committed_chunks(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 4)
    ledger.commit(taken(ledger, job), Outcome(counts={"computed": 5}))
    in_hand = taken(ledger, job)
    ledger.fail(taken(ledger, job), {"type": "E", "message": "no"})
    assert ledger.commit(in_hand, DONE).answer == "lost"
    dependent_fails(queue.jobbook, job)
    assert [ticket.count for ticket in queue.jobbook.retry(job)] == [1]
    assert queue.jobbook.job(job).error is None
    assert [taken(ledger, job).chunk for _ in range(3)] == [2, 3, 4]
    assert queue.jobbook.job(job).counts == {"computed": 5}
    with pytest.raises(NotRetried):
        queue.jobbook.retry(job)


def dependent_fails(jobbook: JobBook, job: str) -> None:
    with pytest.raises(DependencyEnded):
        jobbook.create(SPEC, after=[job])


def test_a_job_that_failed_with_another_is_retried_after_it(queue: OwnQueue) -> None:
    ledger, first = queue.ledger("a"), queue.job()
    second = queue.job(after=[first])
    queue.jobbook.cancel(first)
    with pytest.raises(DependencyEnded):
        queue.jobbook.retry(second)
    queue.jobbook.retry(first)
    assert queue.jobbook.retry(second) == []
    assert queue.jobbook.job(second).waits_for == [first]
    ledger.commit(taken(ledger, first), DONE)
    assert taken(ledger, second).job == second
