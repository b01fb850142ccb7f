"""The ledger: each chunk is counted once, even if workers die, wake up late or commit twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis

from jdq.worker.queue.contract import JobState, encode_spec
from jdq.worker.queue.jobbook import DependencyEnded, JobBook, NotRetried, UnknownJob
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import SPEC, Clock

LedgerOf = Callable[..., Ledger]
DONE = Outcome()


def taken(ledger: Ledger, job: str) -> Lease:
    lease = ledger.next(job)
    assert lease is not None
    return lease


def planned(jobbook: JobBook, ledger: Ledger, chunks: int) -> str:
    """A job whose first chunk is committed and that has this many more on the same queue."""
    job, _ = jobbook.create(SPEC)
    ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=chunks, queue=ledger.queue)))
    return job


def test_chunks_are_leased_lowest_first_and_each_to_one_worker(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    a, b = ledger_of("a"), ledger_of("b")
    job = planned(jobbook, a, 3)
    leases = [ledger.next(job) for ledger in (a, b, a, b)]
    assert [lease.chunk if lease else None for lease in leases] == [1, 2, 3, None]


def test_the_last_commit_and_no_other_ends_the_job(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 2)
    first, second = taken(ledger, job), taken(ledger, job)
    assert ledger.commit(second, DONE).answer == "done"
    assert jobbook.job(job).state is JobState.RUNNING
    assert ledger.commit(first, DONE).answer == "last"
    assert jobbook.job(job).state is JobState.SUCCEEDED


def test_a_chunk_committed_twice_counts_once(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 2)
    lease = taken(ledger, job)
    outcome = Outcome(counts={"computed": 7})
    assert [ledger.commit(lease, outcome).answer for _ in range(2)] == ["done", "done"]
    assert jobbook.job(job).counts == {"computed": 7}


def watched(ledger: Ledger, clock: Clock, seconds: float) -> int:
    """How many chunks were reclaimed while that much time passed, with a look at the leases every 5 s."""
    reclaimed = 0
    while seconds > 0:
        clock.pass_s(min(5, seconds))
        seconds -= 5
        reclaimed += ledger.reclaim_expired()[0]
    return reclaimed


def test_an_expired_chunk_goes_to_the_front_and_its_late_commit_does_not_count(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    asleep, awake = ledger_of("asleep"), ledger_of("awake")
    job = planned(jobbook, awake, 3)
    late = taken(asleep, job)
    assert watched(awake, clock, 59) == 0
    assert watched(awake, clock, 1) == 1
    again = taken(awake, job)
    assert (again.chunk, again.attempt) == (late.chunk, 2)
    assert asleep.renew([(late, None)]) == ["lost"]
    assert asleep.commit(late, DONE).answer == "lost"
    assert awake.commit(again, DONE).answer == "done"
    assert "asleep stopped sending heartbeats" in jobbook.job(job).log[0]["reason"]


def test_renewals_keep_a_lease_for_as_long_as_the_work_takes(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    lease = taken(ledger, job)
    for _ in range(4):
        assert watched(ledger_of("b"), clock, 55) == 0
        assert ledger.renew([(lease, {"texts": 5})]) == ["ok"]
    assert jobbook.job(job).live == [{"texts": 5}]
    assert ledger.commit(lease, DONE).answer == "last"


def test_a_chunk_whose_lease_is_lost_ten_times_fails_its_job_with_the_reason(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("victim")
    job, _ = jobbook.create(SPEC)
    for _ in range(10):
        assert jobbook.job(job).state is not JobState.FAILED
        taken(ledger, job)
        assert watched(ledger, clock, 60) == 1
    failed = jobbook.job(job)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert "lost its worker 10 times" in failed.error.message
    assert "victim stopped sending heartbeats" in failed.error.message


def test_lost_leases_of_a_training_that_gets_further_each_time_are_not_added_up(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    for step in range(10, 310, 10):
        lease = taken(ledger, job)
        ledger.renew([(lease, {"step": step})])
        assert watched(ledger, clock, 60) == 1
    lease = taken(ledger, job)
    assert lease.attempt == 31
    assert ledger.commit(lease, DONE).answer == "last"


def test_lost_leases_that_get_no_further_than_before_are_added_up(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    for step in (30, *range(20, 29)):
        lease = taken(ledger, job)
        ledger.renew([(lease, {"step": step})])
        assert watched(ledger, clock, 60) == 1
    assert jobbook.job(job).state is JobState.FAILED


def test_faults_and_lost_leases_are_counted_apart(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    for _ in range(2):
        ledger.release_after_fault(taken(ledger, job), "OSError: a cable")
        clock.pass_s(8)
        taken(ledger, job)
        assert watched(ledger, clock, 60) == 1
    assert jobbook.job(job).state is JobState.RUNNING
    ledger.release_after_fault(taken(ledger, job), "OSError: a cable")
    failed = jobbook.job(job)
    assert failed.error is not None
    assert failed.error.message == "chunk 0 failed 3 times; the last time: OSError: a cable"


@pytest.mark.parametrize("asleep_s", [31, 3600, -3600])
def test_a_machine_that_slept_and_a_clock_that_was_set_cost_no_lease(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, asleep_s: float
) -> None:
    ledger, other = ledger_of("a"), ledger_of("b")
    job, _ = jobbook.create(SPEC)
    lease = taken(ledger, job)
    clock.pass_s(asleep_s)
    assert other.reclaim_expired()[0] == 0
    clock.pass_s(3)
    assert ledger.renew([(lease, None)]) == ["ok"]
    assert watched(other, clock, 55) == 0
    assert ledger.commit(lease, DONE).answer == "last"
    assert jobbook.job(job).log == []


@pytest.mark.parametrize("asleep_s", [31, 3600, -3600])
def test_a_worker_that_did_not_wake_up_loses_its_chunk_one_lease_later(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, asleep_s: float
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    taken(ledger, job)
    clock.pass_s(asleep_s)
    assert ledger.reclaim_expired()[0] == 0
    assert watched(ledger, clock, 55) == 0
    assert watched(ledger, clock, 5) == 1


def test_a_fault_is_tried_again_later_and_a_release_is_no_attempt(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    for _ in range(20):
        ledger.release(taken(ledger, job), "told to stop")
    lease = taken(ledger, job)
    assert lease.attempt == 1
    ledger.release_after_fault(lease, "OSError: disk full")
    assert ledger.next(job) is None
    clock.pass_s(1)
    lease = taken(ledger, job)
    assert lease.attempt == 2
    assert jobbook.job(job).chunks_delayed == 0
    ledger.commit(lease, DONE)
    assert ledger.client.exists(f"jdq:job:{job}:troubles") == 0


def test_an_error_of_the_users_fails_the_job_immediately(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 5)
    ledger.fail(taken(ledger, job), {"type": "EncoderNotFound", "message": "no such encoder"})
    failed = jobbook.job(job)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.message == "no such encoder"
    assert ledger.next(job) is None


def test_a_cancelled_job_gives_no_chunk_and_its_workers_learn_of_it(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 5)
    lease = taken(ledger, job)
    assert jobbook.cancel(job)
    assert not jobbook.cancel(job)
    assert ledger.renew([(lease, None)]) == ["cancelled"]
    assert ledger.commit(lease, DONE).answer == "lost"
    assert ledger.next(job) is None


def test_a_closing_chunk_follows_when_all_others_are_committed(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger, gpu = ledger_of("a"), ledger_of("g", queue="gpu")
    job, _ = jobbook.create(SPEC)
    ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=2, queue="gpu", closing="cpu")))
    first, second = taken(gpu, job), taken(gpu, job)
    assert gpu.commit(second, DONE).tickets == []
    [ticket] = gpu.commit(first, DONE).tickets
    assert (ticket.queue, ticket.count) == ("cpu", 1)
    closing = taken(ledger, job)
    assert closing.chunk == 3
    assert ledger.commit(closing, DONE).answer == "last"
    assert jobbook.job(job).state is JobState.SUCCEEDED


def test_a_job_waits_for_another_and_starts_once(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    first, _ = jobbook.create(SPEC)
    second, tickets = jobbook.create(SPEC, after=[first])
    assert tickets == []
    assert ledger.next(second) is None
    assert jobbook.job(second).waits_for == [first]
    lease = taken(ledger, first)
    assert [ticket.job for ticket in ledger.commit(lease, DONE).tickets] == [second]
    ledger.commit(lease, DONE)
    assert ledger.next(second) is not None
    assert ledger.next(second) is None


def test_what_waits_for_a_failed_job_fails_with_it(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    first, _ = jobbook.create(SPEC)
    second, _ = jobbook.create(SPEC, after=[first])
    third, _ = jobbook.create(SPEC, after=[second])
    ledger.fail(taken(ledger, first), {"type": "E", "message": "no"})
    for job in (second, third):
        assert jobbook.job(job).state is JobState.FAILED
    with pytest.raises(DependencyEnded):
        jobbook.create(SPEC, after=[first])


def test_unknown_jobs_are_errors(jobbook: JobBook) -> None:
    with pytest.raises(UnknownJob):
        jobbook.job("extract-nosuch")
    with pytest.raises(UnknownJob):
        jobbook.cancel("extract-nosuch")
    with pytest.raises(UnknownJob):
        jobbook.create(SPEC, after=["extract-nosuch"])


def test_a_lost_ticket_is_sent_again_when_a_worker_is_idle(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    ledger.heartbeat({"queue": "cpu"})
    job, _ = jobbook.create(SPEC)  # its ticket goes nowhere
    assert [(ticket.job, ticket.count) for ticket in ledger.reclaim_expired()[1]] == [(job, 1)]
    taken(ledger, job)
    assert ledger.reclaim_expired()[1] == []


def test_each_idle_worker_gets_a_ticket_and_no_job_more_than_it_has_chunks(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    ledgers = [ledger_of(name) for name in "abcd"]
    for ledger in ledgers:
        ledger.heartbeat({"queue": "cpu"})
    job = planned(jobbook, ledgers[0], 3)
    ledgers[0].mark_idle(job)
    assert [ticket.count for ticket in ledgers[0].reclaim_expired()[1]] == [3]


def test_a_worker_without_a_heartbeat_for_fifteen_seconds_is_dead_and_gets_no_ticket(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    seconds, _ = client.time()
    for name, silent_s in (("alive", 13), ("dead", 17)):
        ledger_of(name).heartbeat({"queue": "cpu", "host": "h", "pid": 1, "device": "cpu", "started": 0})
        client.zadd("jdq:workers:seen", {name: (seconds - silent_s) * 1000})
    assert [(worker.name, worker.state) for worker in jobbook.workers()] == [("alive", "idle"), ("dead", "dead")]
    ledger = ledger_of("planner")
    job, _ = jobbook.create(SPEC)
    plan = Outcome(follow_up=FollowUpChunks(chunks=5, queue="cpu"))
    assert [order.count for order in ledger.commit(taken(ledger, job), plan).tickets] == [1]
    assert [order.count for order in ledger.reclaim_expired()[1]] == [1]


def test_a_job_that_nobody_takes_from_gets_tickets_at_intervals_that_double(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    ledger = ledger_of("busy elsewhere")
    job, _ = jobbook.create(SPEC)
    waits = []
    for _ in range(3):
        assert ledger.reclaim_expired()[1] == []
        client.hset(f"jdq:job:{job}", "repair_at", 0)
        assert [order.job for order in ledger.reclaim_expired()[1]] == [job]
        waits.append(int(client.hget(f"jdq:job:{job}", "repair_wait") or 0))
    assert waits == [20_000, 40_000, 80_000]


def test_a_job_from_which_a_chunk_was_taken_lacks_no_ticket_for_a_while(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 9)
    for _ in range(3):
        clock.pass_s(9)
        taken(ledger, job)
        assert ledger.reclaim_expired()[1] == []
    clock.pass_s(10)
    assert [order.count for order in ledger.reclaim_expired()[1]] == [1]


def test_the_wall_time_of_an_ended_job_ends_with_it(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    assert jobbook.job(job).wall_s is None
    time.sleep(0.02)
    lease = taken(ledger, job)
    time.sleep(0.02)
    running = jobbook.job(job)
    assert running.started is not None
    assert running.wall_s == running.read_at - running.started > 0
    ledger.commit(lease, DONE)
    time.sleep(0.02)
    ended = jobbook.job(job)
    assert ended.ended is not None
    assert ended.started is not None
    assert ended.wall_s == ended.ended - ended.started < ended.read_at - ended.started


def test_what_a_chunk_counts_and_results_in_is_stored_unchanged(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    result: dict[str, object] = {"empty": [], "none": None, "large": 10**15, "small": 1e-7, "nested": {"text": 'é "\n'}}
    ledger.commit(taken(ledger, job), Outcome(counts={"tokens": 100_000_000_000}, result=result))
    found = jobbook.job(job)
    assert (found.counts, found.result) == ({"tokens": 100_000_000_000}, result)


def test_a_job_of_the_first_version_runs(jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis) -> None:
    """Its hash limits the chunks that are leased at the same time, and lists no jobs that it waits for."""
    fields = ["kind", "train-head", "spec", encode_spec(SPEC), "state", "queued", "queue", "cpu", "priority", "5"]
    numbers = ["at_once", "1", "created", "1", "next", "0", "chunks_total", "1", "chunks_done", "0"]
    client.hset("jdq:job:old", items=[*fields, *numbers, "wanted_after", "[]"])
    client.sadd("jdq:open", "old")
    client.sadd("jdq:open:cpu:5", "old")
    jobbook.cancel("old")
    assert [order.count for order in jobbook.retry("old")] == [1]
    ledger = ledger_of("a")
    assert ledger.commit(taken(ledger, "old"), DONE).answer == "last"


def test_a_worker_that_leaves_a_job_sends_a_ticket_for_its_pending_chunks(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 2)
    lease = taken(ledger, job)
    assert [(order.job, order.count) for order in ledger.mark_idle(job)] == [(job, 1)]
    taken(ledger, job)
    assert ledger.mark_idle(job) == []
    ledger.fail(lease, {"type": "E", "message": "no"})
    assert ledger.mark_idle(job) == []


def test_a_hundred_thousand_chunks_cost_the_server_no_memory_each(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    ledger = ledger_of("a")
    planned(jobbook, ledger, 1)  # the server keeps the scripts
    before = client.info("memory")["used_memory"]
    planned(jobbook, ledger, 100_000)
    assert client.info("memory")["used_memory"] - before < 100_000


def test_a_more_urgent_jobs_chunk_goes_first(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    slow, _ = jobbook.create(SPEC, priority="low")
    ledger.commit(taken(ledger, slow), Outcome(follow_up=FollowUpChunks(chunks=3, queue="cpu")))
    assert taken(ledger, slow).job == slow
    normal, _ = jobbook.create(SPEC)
    urgent, _ = jobbook.create(SPEC, priority="high")
    waiting, _ = jobbook.create(SPEC, priority="high", after=[urgent])
    assert [taken(ledger, slow).job for _ in range(3)] == [urgent, normal, slow]
    assert jobbook.job(waiting).state is JobState.QUEUED


def test_a_retried_job_keeps_its_committed_chunks(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    job = planned(jobbook, ledger, 4)
    ledger.commit(taken(ledger, job), Outcome(counts={"computed": 5}))
    in_hand = taken(ledger, job)
    ledger.fail(taken(ledger, job), {"type": "E", "message": "no"})
    assert ledger.commit(in_hand, DONE).answer == "lost"
    dependent_fails(jobbook, job)
    assert [ticket.count for ticket in jobbook.retry(job)] == [1]
    assert jobbook.job(job).error is None
    assert [taken(ledger, job).chunk for _ in range(3)] == [2, 3, 4]
    assert jobbook.job(job).counts == {"computed": 5}
    with pytest.raises(NotRetried):
        jobbook.retry(job)


def dependent_fails(jobbook: JobBook, job: str) -> None:
    with pytest.raises(DependencyEnded):
        jobbook.create(SPEC, after=[job])


def test_a_job_that_failed_with_another_is_retried_after_it(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("a")
    first, _ = jobbook.create(SPEC)
    second, _ = jobbook.create(SPEC, after=[first])
    jobbook.cancel(first)
    with pytest.raises(DependencyEnded):
        jobbook.retry(second)
    jobbook.retry(first)
    assert jobbook.retry(second) == []
    assert jobbook.job(second).waits_for == [first]
    ledger.commit(taken(ledger, first), DONE)
    assert taken(ledger, second).job == second
