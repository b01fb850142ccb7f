"""Which workers are quarantined for their chunks' failures, and which work again."""

import os

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.ledger import Outcome
from tests.queue.conftest import Clock
from tests.queue.ledgers import DESCRIPTION, OwnQueue, alive, fault, taken


def test_a_worker_that_fails_three_chunks_in_a_row_is_quarantined_and_gets_nothing(
    queue: OwnQueue, clock: Clock
) -> None:
    bad, good = queue.ledger("bad"), queue.ledger("good")
    job = queue.planned(good, 5)
    alive(bad, good)
    for _ in range(3):
        fault(bad, taken(bad, job))
    assert bad.next(job) is None
    assert bad.mark_idle(job) == []
    assert bad.heartbeat(DESCRIPTION) == "RuntimeError: no CUDA"
    assert good.heartbeat(DESCRIPTION) == ""
    worker = queue.jobbook.workers()[0]
    assert (worker.name, worker.state, worker.reason) == ("bad", "sick", "RuntimeError: no CUDA")
    good.mark_idle(job)
    clock.pass_s(2)
    assert [order.count for order in good.reclaim_expired()[1]] == [1]
    for _ in range(5):
        good.commit(taken(good, job), Outcome())
    assert queue.jobbook.job(job).state is JobState.SUCCEEDED


def test_a_success_between_faults_and_a_chunk_that_fails_everywhere_quarantine_nobody(
    queue: OwnQueue, clock: Clock
) -> None:
    ledger, job = queue.worked_on("a", 5)
    for _ in range(2):
        fault(ledger, taken(ledger, job))
    ledger.commit(taken(ledger, job), Outcome())
    fault(ledger, taken(ledger, job))
    for _ in range(2):
        clock.pass_s(8)
        fault(ledger, taken(ledger, job))
    assert ledger.heartbeat(DESCRIPTION) == ""


def test_a_quarantined_worker_that_recovers_works_again(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 5)
    ledger.quarantine("the canary differs")
    assert ledger.heartbeat(DESCRIPTION) == "the canary differs"
    assert ledger.next(job) is None
    ledger.recover()
    assert ledger.heartbeat(DESCRIPTION) == ""
    assert taken(ledger, job).chunk == 1


def test_a_worker_whose_processes_die_at_three_chunks_in_a_row_is_quarantined(queue: OwnQueue, clock: Clock) -> None:
    bad = queue.ledger("bad")
    jobs = [queue.job() for _ in range(3)]
    for job in jobs:
        assert bad.heartbeat(DESCRIPTION) == ""
        taken(bad, job)
        assert bad.is_busy()
        bad.end_process(os.getpid(), "killed by SIGSEGV")
        assert not bad.is_busy()
    assert bad.heartbeat(DESCRIPTION) == "killed by SIGSEGV"


def test_a_chunk_that_kills_again_and_again_quarantines_nobody(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 1)
    for _ in range(6):
        lease = taken(ledger, job)
        ledger.renew([(lease, {"texts_alone": 8})])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert ledger.heartbeat(DESCRIPTION) == ""
