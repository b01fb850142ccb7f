"""Processes that die: their chunks are returned, and the chunk or the row that killed them is found."""

import os

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.ledger import Outcome
from tests.queue.conftest import Clock
from tests.queue.ledgers import OwnQueue, alive, fault, taken, watched


def test_after_a_death_others_only_go_first(queue: OwnQueue, clock: Clock) -> None:
    a, b = queue.ledger("a"), queue.ledger("b")
    job = queue.planned(b, 1)
    alive(a, b)
    taken(a, job)
    a.end_process(os.getpid(), "killed by SIGKILL")
    assert a.next(job) is None
    clock.pass_s(10)
    alive(a, b)
    fault(a, taken(a, job))
    clock.pass_s(2)
    alive(a, b)
    taken(b, job)
    b.end_process(os.getpid(), "killed by SIGKILL")
    c = queue.ledger("c")
    clock.pass_s(10)
    alive(a, b, c)
    assert a.next(job) is None  # it failed the chunk, too
    assert taken(b, job).attempt == 4


def test_the_chunks_of_a_process_that_died_are_pending_immediately_with_the_reason(
    queue: OwnQueue, clock: Clock
) -> None:
    ledger, other = queue.ledger("a"), queue.ledger("b")
    job = queue.planned(other, 4)
    alive(ledger, other)
    first, second, kept = taken(ledger, job), taken(ledger, job), taken(other, job)
    returned, tickets = ledger.end_process(os.getpid(), "killed by SIGKILL (out of memory?)")
    assert (returned, {order.job for order in tickets}) == (2, {job})
    assert {taken(other, job).chunk, taken(other, job).chunk} == {first.chunk, second.chunk}
    assert other.renew([(kept, None)]) == ["ok"]
    assert [event["reason"] for event in queue.jobbook.job(job).log] == ["killed by SIGKILL (out of memory?)"] * 2
    assert ledger.commit(first, Outcome()).answer == "lost"


def test_a_death_convicts_only_a_chunk_that_ran_alone(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.worked_on("a", 2)
    for _ in range(5):
        taken(ledger, job), taken(ledger, job)
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert taken(ledger, job).deaths == 0
    for deaths in range(1, 3):
        ledger.end_process(os.getpid(), "killed by SIGKILL")
        assert taken(ledger, job).deaths == deaths
    ledger.end_process(os.getpid(), "killed by SIGKILL")
    error = queue.jobbook.job(job).error
    assert error is not None
    assert error.message == "chunk 1 killed its worker 3 times; the last time: killed by SIGKILL"


def test_a_row_that_killed_its_worker_twice_while_alone_is_named_and_the_count_starts_again(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 1)
    for n, row in enumerate([None, None, None, None, 7, 3, 7, 7]):
        lease = taken(ledger, job)
        assert (lease.deaths, lease.rows) == (n, ())
        ledger.renew([(lease, {"texts_alone": 8} | ({} if row is None else {"row": row}))])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    lease = taken(ledger, job)
    assert (lease.deaths, lease.rows, lease.attempt) == (0, (7,), 9)


def test_a_stopped_worker_that_was_killed_costs_no_attempt(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    for _ in range(20):
        taken(ledger, job)
        assert [order.job for order in queue.jobbook.end_worker("a", "drain", "jdq down")] == [job]
    assert taken(ledger, job).attempt == 1
    assert watched(ledger, clock, 60) == 1


def test_a_process_whose_death_fails_the_job_with_its_first_chunk_ends_it_once(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.worked_on("a", 2)
    for _ in range(10):
        taken(ledger, job), taken(ledger, job)
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    failed = queue.jobbook.job(job)
    assert failed.error is not None
    assert "chunk 1 lost its worker 10 times" in failed.error.message
    assert [event["chunk"] for event in failed.log][-2:] == [2, 1]


def test_a_chunk_that_is_halved_is_not_given_up_for_a_death_before_its_first_part(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 1)
    for death in range(20):
        lease = taken(ledger, job)
        if death < 5:
            ledger.renew([(lease, {"texts_alone": 8})])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert taken(ledger, job).deaths == 20


def test_a_chunk_that_is_halved_is_given_up_after_three_faults_and_sixty_deaths(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("a")
    faulty, deadly = queue.planned(ledger, 1), queue.planned(ledger, 1)
    for _ in range(3):
        lease = taken(ledger, faulty)
        ledger.renew([(lease, {"texts_alone": 8})])
        fault(ledger, lease)
        clock.pass_s(8)
    assert queue.jobbook.job(faulty).state is JobState.FAILED
    for _ in range(60):
        lease = taken(ledger, deadly)
        ledger.renew([(lease, {"texts_alone": 8})])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert queue.jobbook.job(deadly).state is JobState.FAILED
