"""Workers that fail: their chunks go to others, and one that fails everything is quarantined."""

from __future__ import annotations

import os

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from tests.queue.conftest import SPEC, Clock
from tests.queue.ledgers import LedgerOf, planned, taken, watched

DESCRIPTION = {"queue": "cpu", "host": "h", "pid": 1, "device": "cpu", "started": 0}


def alive(*ledgers: Ledger) -> None:
    for ledger in ledgers:
        ledger.heartbeat(DESCRIPTION)


def fault(ledger: Ledger, lease: Lease) -> None:
    ledger.release_after_fault(lease, "RuntimeError: no CUDA")


def test_a_chunk_that_a_worker_failed_goes_to_another_one_that_lives(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    bad, good = ledger_of("bad"), ledger_of("good")
    job = planned(jobbook, good, 2)
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


def test_a_worker_tries_again_where_no_other_lives_or_all_others_failed_too(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    a, b = ledger_of("a"), ledger_of("b")
    job, _ = jobbook.create(SPEC)
    alive(a, b)
    fault(a, taken(a, job))
    clock.pass_s(2)
    fault(b, taken(b, job))
    clock.pass_s(4)
    assert taken(a, job).attempt == 3
    other, _ = jobbook.create(SPEC)
    fault(a, taken(a, other))
    clock.pass_s(16)  # b has sent no heartbeat
    a.heartbeat(DESCRIPTION)
    assert taken(a, other).attempt == 2


def test_a_worker_never_takes_again_what_it_failed_while_another_lives_however_busy(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    bad, good = ledger_of("bad"), ledger_of("good")
    job, other = planned(jobbook, good, 1), planned(jobbook, good, 1)
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
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    bad, stuck = ledger_of("bad"), ledger_of("stuck")
    job, other = planned(jobbook, bad, 1), planned(jobbook, bad, 1)
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


def test_a_chunk_waits_for_a_worker_that_was_idle_long_before_it_failed(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    bad, good = ledger_of("bad"), ledger_of("good")
    job = planned(jobbook, good, 1)
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


def test_after_a_death_others_only_go_first(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    a, b = ledger_of("a"), ledger_of("b")
    job = planned(jobbook, b, 1)
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
    c = ledger_of("c")
    clock.pass_s(10)
    alive(a, b, c)
    assert a.next(job) is None  # it failed the chunk, too
    assert taken(b, job).attempt == 4


def test_a_workers_speed_is_that_of_its_last_encoded_chunk(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 4)
    alive(ledger)
    assert jobbook.workers()[0].tokens_per_s is None
    for counts in ({"tokens": 3000, "device_ms": 7}, {"tokens": 9, "device_ms": 0}, {"trials_done": 1}):
        ledger.commit(taken(ledger, job), Outcome(counts=counts))
        assert jobbook.workers()[0].tokens_per_s == 428_571
    ledger.deregister()
    alive(ledger)
    assert jobbook.workers()[0].tokens_per_s is None


def test_a_worker_that_fails_three_chunks_in_a_row_is_quarantined_and_gets_nothing(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    bad, good = ledger_of("bad"), ledger_of("good")
    job = planned(jobbook, good, 5)
    alive(bad, good)
    for _ in range(3):
        fault(bad, taken(bad, job))
    assert bad.next(job) is None
    assert bad.mark_idle(job) == []
    assert bad.heartbeat(DESCRIPTION) == "RuntimeError: no CUDA"
    assert good.heartbeat(DESCRIPTION) == ""
    worker = jobbook.workers()[0]
    assert (worker.name, worker.state, worker.reason) == ("bad", "sick", "RuntimeError: no CUDA")
    good.mark_idle(job)
    clock.pass_s(2)
    assert [order.count for order in good.reclaim_expired()[1]] == [1]
    for _ in range(5):
        good.commit(taken(good, job), Outcome())
    assert jobbook.job(job).state is JobState.SUCCEEDED


def test_a_success_between_faults_and_a_chunk_that_fails_everywhere_quarantine_nobody(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 5)
    for _ in range(2):
        fault(ledger, taken(ledger, job))
    ledger.commit(taken(ledger, job), Outcome())
    fault(ledger, taken(ledger, job))
    for _ in range(2):
        clock.pass_s(8)
        fault(ledger, taken(ledger, job))
    assert ledger.heartbeat(DESCRIPTION) == ""


def test_a_quarantined_worker_that_recovers_works_again(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 5)
    ledger.quarantine("the canary differs")
    assert ledger.heartbeat(DESCRIPTION) == "the canary differs"
    assert ledger.next(job) is None
    ledger.recover()
    assert ledger.heartbeat(DESCRIPTION) == ""
    assert taken(ledger, job).chunk == 1


def test_the_chunks_of_a_process_that_died_are_pending_immediately_with_the_reason(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger, other = ledger_of("a"), ledger_of("b")
    job = planned(jobbook, other, 4)
    alive(ledger, other)
    first, second, kept = taken(ledger, job), taken(ledger, job), taken(other, job)
    returned, tickets = ledger.end_process(os.getpid(), "killed by SIGKILL (out of memory?)")
    assert (returned, {order.job for order in tickets}) == (2, {job})
    assert {taken(other, job).chunk, taken(other, job).chunk} == {first.chunk, second.chunk}
    assert other.renew([(kept, None)]) == ["ok"]
    assert [event["reason"] for event in jobbook.job(job).log] == ["killed by SIGKILL (out of memory?)"] * 2
    assert ledger.commit(first, Outcome()).answer == "lost"


def test_a_death_convicts_only_a_chunk_that_ran_alone(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 2)
    for _ in range(5):
        taken(ledger, job), taken(ledger, job)
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert taken(ledger, job).deaths == 0
    for deaths in range(1, 3):
        ledger.end_process(os.getpid(), "killed by SIGKILL")
        assert taken(ledger, job).deaths == deaths
    ledger.end_process(os.getpid(), "killed by SIGKILL")
    error = jobbook.job(job).error
    assert error is not None
    assert error.message == "chunk 1 killed its worker 3 times; the last time: killed by SIGKILL"


def test_a_row_that_killed_its_worker_twice_while_alone_is_named_and_the_count_starts_again(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 1)
    for n, row in enumerate([None, None, None, None, 7, 3, 7, 7]):
        lease = taken(ledger, job)
        assert (lease.deaths, lease.rows) == (n, ())
        ledger.renew([(lease, {"texts_alone": 8} | ({} if row is None else {"row": row}))])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    lease = taken(ledger, job)
    assert (lease.deaths, lease.rows, lease.attempt) == (0, (7,), 9)


def test_a_stopped_worker_that_was_killed_costs_no_attempt(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    for _ in range(20):
        taken(ledger, job)
        assert [order.job for order in jobbook.end_worker("a", "drain", "jdq down")] == [job]
    assert taken(ledger, job).attempt == 1
    assert watched(ledger, clock, 60) == 1


def test_a_worker_whose_processes_die_at_three_chunks_in_a_row_is_quarantined(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    bad = ledger_of("bad")
    jobs = [jobbook.create(SPEC)[0] for _ in range(3)]
    for job in jobs:
        assert bad.heartbeat(DESCRIPTION) == ""
        taken(bad, job)
        assert bad.is_busy()
        bad.end_process(os.getpid(), "killed by SIGSEGV")
        assert not bad.is_busy()
    assert bad.heartbeat(DESCRIPTION) == "killed by SIGSEGV"


def test_a_chunk_that_kills_again_and_again_quarantines_nobody(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 1)
    for _ in range(6):
        lease = taken(ledger, job)
        ledger.renew([(lease, {"texts_alone": 8})])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert ledger.heartbeat(DESCRIPTION) == ""


def test_a_process_whose_death_fails_the_job_with_its_first_chunk_ends_it_once(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 2)
    for _ in range(10):
        taken(ledger, job), taken(ledger, job)
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    failed = jobbook.job(job)
    assert failed.error is not None
    assert "chunk 1 lost its worker 10 times" in failed.error.message
    assert [event["chunk"] for event in failed.log][-2:] == [2, 1]


def test_a_failed_job_says_at_which_chunk_and_a_worker_that_lost_the_chunk_fails_nothing(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 1)
    late = taken(ledger, job)
    assert watched(ledger, clock, 60) == 1
    ledger.fail(late, {"type": "E", "message": "late"})
    assert jobbook.job(job).state is JobState.RUNNING
    ledger.fail(taken(ledger, job), {"type": "E", "message": "no such encoder"})
    event = jobbook.job(job).log[-1]
    assert (event["what"], event["chunk"], event["worker"], event["reason"]) == ("error", 1, "a", "no such encoder")


def test_a_chunk_that_is_halved_is_not_given_up_for_a_death_before_its_first_part(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 1)
    for death in range(20):
        lease = taken(ledger, job)
        if death < 5:
            ledger.renew([(lease, {"texts_alone": 8})])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert taken(ledger, job).deaths == 20


def test_a_chunk_that_is_halved_is_given_up_after_three_faults_and_sixty_deaths(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    faulty, deadly = planned(jobbook, ledger, 1), planned(jobbook, ledger, 1)
    for _ in range(3):
        lease = taken(ledger, faulty)
        ledger.renew([(lease, {"texts_alone": 8})])
        fault(ledger, lease)
        clock.pass_s(8)
    assert jobbook.job(faulty).state is JobState.FAILED
    for _ in range(60):
        lease = taken(ledger, deadly)
        ledger.renew([(lease, {"texts_alone": 8})])
        ledger.end_process(os.getpid(), "killed by SIGKILL")
    assert jobbook.job(deadly).state is JobState.FAILED


def test_a_worker_that_goes_idle_gets_a_ticket_for_a_returned_chunk_that_it_may_take(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    ledger = ledger_of("a")
    alive(ledger)
    job = planned(jobbook, ledger, 1)
    ledger.release(taken(ledger, job), "told to stop")
    assert [(order.job, order.count) for order in ledger.mark_idle(job)] == [(job, 1)]


def test_a_chunk_that_was_given_up_is_done_after_a_retry(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 1)
    for _ in range(3):
        fault(ledger, taken(ledger, job))
        clock.pass_s(8)
    ledger.recover()
    jobbook.retry(job)
    assert (taken(ledger, job).chunk, ledger.next(job)) == (1, None)
