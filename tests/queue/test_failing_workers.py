"""Workers that fail: their chunks go to other workers first, and to them again where no other takes them."""

import os

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.ledger import Outcome
from tests.queue.conftest import Clock
from tests.queue.ledgers import DESCRIPTION, OwnQueue, alive, fault, taken, watched


def test_a_chunk_that_a_worker_failed_goes_to_another_one_that_lives(queue: OwnQueue, clock: Clock) -> None:
    bad, good = queue.ledger("bad"), queue.ledger("good")
    job = queue.planned(good, 2)
    alive(bad, good)
    fault(bad, taken(bad, job))
    clock.pass_s(2)
    alive(bad, good)
    assert taken(bad, job).chunk == 2
    assert bad.next(job) is None
    assert bad.mark_idle(job) == []
    good.mark_idle(job)
    assert [(order.job, order.count) for order in good.reclaim_expired()[1]] == [(job, 2)]
    assert taken(good, job).chunk == 1


def test_a_worker_tries_again_where_no_other_lives_or_all_others_failed_too(queue: OwnQueue, clock: Clock) -> None:
    a, b = queue.ledger("a"), queue.ledger("b")
    job = queue.job()
    alive(a, b)
    fault(a, taken(a, job))
    clock.pass_s(2)
    fault(b, taken(b, job))
    clock.pass_s(4)
    assert taken(a, job).attempt == 3
    other = queue.job()
    fault(a, taken(a, other))
    clock.pass_s(16)  # b has sent no heartbeat
    a.heartbeat(DESCRIPTION)
    assert taken(a, other).attempt == 2


def test_a_worker_never_takes_again_what_it_failed_while_another_lives_however_busy(
    queue: OwnQueue, clock: Clock
) -> None:
    bad, good = queue.ledger("bad"), queue.ledger("good")
    job, other = queue.planned(good, 1), queue.planned(good, 1)
    alive(bad, good)
    assert taken(good, other)
    bad_lease = taken(bad, job)
    fault(bad, bad_lease)
    for _ in range(50):
        clock.pass_s(3600)
        alive(bad, good)
        assert bad.next(job) is None
    bad.end_process(os.getpid(), "killed by SIGKILL")  # of a process that holds nothing
    clock.pass_s(20)
    bad.heartbeat(DESCRIPTION)
    assert taken(bad, job).attempt == 2


def test_an_idle_worker_that_takes_nothing_keeps_a_failed_chunk_waiting_for_a_minute_only(
    queue: OwnQueue, clock: Clock
) -> None:
    bad, stuck = queue.ledger("bad"), queue.ledger("stuck")
    job, other = queue.planned(bad, 1), queue.planned(bad, 1)
    fault(bad, taken(bad, job))
    clock.pass_s(3600)
    alive(bad, stuck)
    taken(stuck, other)
    assert bad.next(job) is None  # the other one is busy
    stuck.mark_idle(other)
    for _ in range(6):
        clock.pass_s(10)
        alive(bad, stuck)
        assert bad.next(job) is None
        assert bad.mark_idle(job) == []
    clock.pass_s(1)
    assert [order.job for order in bad.mark_idle(job)] == [job]
    assert taken(bad, job).attempt == 2


def test_a_chunk_waits_for_a_worker_that_was_idle_long_before_it_failed(queue: OwnQueue, clock: Clock) -> None:
    bad, good = queue.ledger("bad"), queue.ledger("good")
    job = queue.planned(good, 1)
    good.mark_idle(job)
    clock.pass_s(3600)
    alive(bad, good)
    fault(bad, taken(bad, job))
    clock.pass_s(61)
    alive(bad, good)
    assert bad.next(job) is None
    clock.pass_s(-3600)  # set back: nobody waits for an hour
    alive(bad, good)
    assert taken(bad, job).attempt == 2


def test_a_workers_speed_is_that_of_its_last_encoded_chunk(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 4)
    alive(ledger)
    assert queue.jobbook.workers()[0].tokens_per_s is None
    for counts in ({"tokens": 3000, "device_ms": 7}, {"tokens": 9, "device_ms": 0}, {"trials_done": 1}):
        ledger.commit(taken(ledger, job), Outcome(counts=counts))
        assert queue.jobbook.workers()[0].tokens_per_s == 428_571
    ledger.deregister()
    alive(ledger)
    assert queue.jobbook.workers()[0].tokens_per_s is None


def test_a_failed_job_says_at_which_chunk_and_a_worker_that_lost_the_chunk_fails_nothing(
    queue: OwnQueue, clock: Clock
) -> None:
    ledger, job = queue.worked_on("a", 1)
    late = taken(ledger, job)
    assert watched(ledger, clock, 60) == 1
    ledger.fail(late, {"type": "E", "message": "late"})
    assert queue.jobbook.job(job).state is JobState.RUNNING
    ledger.fail(taken(ledger, job), {"type": "E", "message": "no such encoder"})
    event = queue.jobbook.job(job).log[-1]
    assert (event["what"], event["chunk"], event["worker"], event["reason"]) == ("error", 1, "a", "no such encoder")


def test_a_worker_that_goes_idle_gets_a_ticket_for_a_returned_chunk_that_it_may_take(queue: OwnQueue) -> None:
    ledger = queue.ledger("a")
    alive(ledger)
    job = queue.planned(ledger, 1)
    ledger.release(taken(ledger, job), "told to stop")
    assert [(order.job, order.count) for order in ledger.mark_idle(job)] == [(job, 1)]


def test_a_chunk_that_was_given_up_is_done_after_a_retry(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.worked_on("a", 1)
    for _ in range(3):
        fault(ledger, taken(ledger, job))
        clock.pass_s(8)
    ledger.recover()
    queue.jobbook.retry(job)
    assert (taken(ledger, job).chunk, ledger.next(job)) == (1, None)
