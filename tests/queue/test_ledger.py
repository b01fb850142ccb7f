"""The ledger: each chunk is counted once, the most urgent first, and the last one ends its job."""

import time

import pytest

from jdq.worker.queue.contract import JobState, encode_spec
from jdq.worker.queue.jobbook import UnknownJob
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.ledgers import DONE, SPEC, OwnQueue, taken


def test_chunks_are_leased_lowest_first_and_each_to_one_worker(queue: OwnQueue) -> None:
    a, b = queue.ledger("a"), queue.ledger("b")
    job = queue.planned(a, 3)
    leases = [ledger.next(job) for ledger in (a, b, a, b)]
    assert [lease.chunk if lease else None for lease in leases] == [1, 2, 3, None]


def test_the_last_commit_and_no_other_ends_the_job(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 2)
    first, second = taken(ledger, job), taken(ledger, job)
    assert ledger.commit(second, DONE).answer == "done"
    assert queue.jobbook.job(job).state is JobState.RUNNING
    assert ledger.commit(first, DONE).answer == "last"
    assert queue.jobbook.job(job).state is JobState.SUCCEEDED


def test_a_chunk_committed_twice_counts_once(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 2)
    lease = taken(ledger, job)
    outcome = Outcome(counts={"computed": 7})
    assert [ledger.commit(lease, outcome).answer for _ in range(2)] == ["done", "done"]
    assert queue.jobbook.job(job).counts == {"computed": 7}


def test_an_error_of_the_users_fails_the_job_immediately(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 5)
    ledger.fail(taken(ledger, job), {"type": "EncoderNotFound", "message": "no such encoder"})
    failed = queue.jobbook.job(job)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.message == "no such encoder"
    assert ledger.next(job) is None


def test_a_cancelled_job_gives_no_chunk_and_its_workers_learn_of_it(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 5)
    lease = taken(ledger, job)
    assert queue.jobbook.cancel(job)
    assert not queue.jobbook.cancel(job)
    assert ledger.renew([(lease, None)]) == ["cancelled"]
    assert ledger.commit(lease, DONE).answer == "lost"
    assert ledger.next(job) is None


def test_a_closing_chunk_follows_when_all_others_are_committed(queue: OwnQueue) -> None:
    ledger, gpu = queue.ledger("a"), queue.ledger("g", queue="gpu")
    job = queue.job()
    ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=2, queue="gpu", closing="cpu")))
    first, second = taken(gpu, job), taken(gpu, job)
    assert gpu.commit(second, DONE).tickets == []
    [ticket] = gpu.commit(first, DONE).tickets
    assert (ticket.queue, ticket.count) == ("cpu", 1)
    closing = taken(ledger, job)
    assert closing.chunk == 3
    assert ledger.commit(closing, DONE).answer == "last"
    assert queue.jobbook.job(job).state is JobState.SUCCEEDED


def test_unknown_jobs_are_errors(queue: OwnQueue) -> None:
    with pytest.raises(UnknownJob):
        queue.jobbook.job("extract-nosuch")
    with pytest.raises(UnknownJob):
        queue.jobbook.cancel("extract-nosuch")
    with pytest.raises(UnknownJob):
        queue.jobbook.create(SPEC, after=["extract-nosuch"])


def test_the_wall_time_of_an_ended_job_ends_with_it(queue: OwnQueue) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    assert queue.jobbook.job(job).wall_s is None
    time.sleep(0.02)
    lease = taken(ledger, job)
    time.sleep(0.02)
    running = queue.jobbook.job(job)
    assert running.started is not None
    assert running.wall_s == running.read_at - running.started > 0
    ledger.commit(lease, DONE)
    time.sleep(0.02)
    ended = queue.jobbook.job(job)
    assert ended.ended is not None
    assert ended.started is not None
    assert ended.wall_s == ended.ended - ended.started < ended.read_at - ended.started


def test_what_a_chunk_counts_and_results_in_is_stored_unchanged(queue: OwnQueue) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    result: dict[str, object] = {"empty": [], "none": None, "large": 10**15, "small": 1e-7, "nested": {"text": 'é "\n'}}
    ledger.commit(taken(ledger, job), Outcome(counts={"tokens": 100_000_000_000}, result=result))
    found = queue.jobbook.job(job)
    assert (found.counts, found.result) == ({"tokens": 100_000_000_000}, result)


def test_a_job_of_the_first_version_runs(queue: OwnQueue) -> None:
    """Its hash limits the chunks that are leased at the same time, and lists no jobs that it waits for."""
    fields = ["kind", "train-head", "spec", encode_spec(SPEC), "state", "queued", "queue", "cpu", "priority", "5"]
    numbers = ["at_once", "1", "created", "1", "next", "0", "chunks_total", "1", "chunks_done", "0"]
    queue.client.hset("jdq:job:old", items=[*fields, *numbers, "wanted_after", "[]"])
    queue.client.sadd("jdq:open", "old")
    queue.client.sadd("jdq:open:cpu:5", "old")
    queue.jobbook.cancel("old")
    assert [order.count for order in queue.jobbook.retry("old")] == [1]
    ledger = queue.ledger("a")
    assert ledger.commit(taken(ledger, "old"), DONE).answer == "last"


def test_a_hundred_thousand_chunks_cost_the_server_no_memory_each(queue: OwnQueue) -> None:
    ledger = queue.ledger("a")
    queue.planned(ledger, 1)  # the server keeps the scripts
    before = queue.client.info("memory")["used_memory"]
    queue.planned(ledger, 100_000)
    assert queue.client.info("memory")["used_memory"] - before < 100_000


def test_a_more_urgent_jobs_chunk_goes_first(queue: OwnQueue) -> None:
    ledger, slow = queue.ledger("a"), queue.job(priority="low")
    ledger.commit(taken(ledger, slow), Outcome(follow_up=FollowUpChunks(chunks=3, queue="cpu")))
    assert taken(ledger, slow).job == slow
    normal = queue.job()
    urgent = queue.job(priority="high")
    waiting = queue.job(priority="high", after=[urgent])
    assert [taken(ledger, slow).job for _ in range(3)] == [urgent, normal, slow]
    assert queue.jobbook.job(waiting).state is JobState.QUEUED
