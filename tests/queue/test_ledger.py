"""The ledger: each chunk is counted once, the most urgent first, and the last one ends its job."""

from __future__ import annotations

import time

import pytest
import redis

from jdq.worker.queue.contract import JobState, encode_spec
from jdq.worker.queue.jobbook import JobBook, UnknownJob
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import SPEC
from tests.queue.ledgers import DONE, LedgerOf, planned, taken


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


def test_unknown_jobs_are_errors(jobbook: JobBook) -> None:
    with pytest.raises(UnknownJob):
        jobbook.job("extract-nosuch")
    with pytest.raises(UnknownJob):
        jobbook.cancel("extract-nosuch")
    with pytest.raises(UnknownJob):
        jobbook.create(SPEC, after=["extract-nosuch"])


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
