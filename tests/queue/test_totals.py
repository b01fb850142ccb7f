"""What the ledger counts for monitoring: over all jobs, and of each worker."""

from collections import Counter

import pytest

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import Clock
from tests.queue.ledgers import OwnQueue, taken

COUNTS = {"computed": 7, "reused": 2, "truncated": 1, "tokens": 90, "device_ms": 30, "device_ms_a": 30}


def of_times(jobbook: JobBook) -> dict[str, int]:
    """The counts and sums of times."""
    return {name: value for name, value in jobbook.totals().items() if name.startswith(("wait", "run", "chunk"))}


def test_a_job_counts_how_long_it_waited_and_ran_and_its_chunks_took(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    clock.pass_s(3)
    lease = taken(ledger, job)
    assert of_times(queue.jobbook) == {"wait:train-head": 1, "wait_ms:train-head": 3000}

    clock.pass_s(2)
    ledger.commit(lease, Outcome(follow_up=FollowUpChunks(chunks=1, queue="cpu")))
    last = taken(ledger, job)
    clock.pass_s(0.5)
    ledger.commit(last, Outcome())
    assert of_times(queue.jobbook) == {
        "wait:train-head": 1,
        "wait_ms:train-head": 3000,
        "chunk:train-head": 2,
        "chunk_ms:train-head": 2500,
        "run:train-head": 1,
        "run_ms:train-head": 2500,
    }


def test_a_clock_that_was_set_back_takes_no_time_away(queue: OwnQueue, clock: Clock) -> None:
    job = queue.job()
    clock.pass_s(-60)
    taken(queue.ledger("a"), job)
    assert of_times(queue.jobbook) == {"wait:train-head": 1, "wait_ms:train-head": 0}


def test_a_job_that_fails_and_then_succeeds_ended_twice_and_ran_once(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    ledger.fail(taken(ledger, job), {"type": "E", "message": "m"})
    queue.jobbook.retry(job)
    ledger.commit(taken(ledger, job), Outcome())
    totals = queue.jobbook.totals()
    assert totals["ended:train-head:failed"] == totals["ended:train-head:succeeded"] == 1
    assert totals["run:train-head"] == totals["wait:train-head"] == 1


def test_attempts_that_end_badly_are_counted_by_their_cause(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("a")
    jobs = [queue.job() for _ in range(3)]
    ledger.release(taken(ledger, jobs[0]), "the worker is stopping")
    ledger.release_after_fault(taken(ledger, jobs[1]), "OSError")
    ledger.fail(taken(ledger, jobs[2]), {"type": "E", "message": "m"})
    totals = queue.jobbook.totals()
    assert {name: totals[f"attempts:{name}"] for name in ("drain", "fault", "error")} == dict.fromkeys(
        ("drain", "fault", "error"), 1
    )
    assert "attempts:expired" not in totals


def test_committed_counts_are_added_up_over_all_jobs_and_by_worker(queue: OwnQueue) -> None:
    for name in ("a", "a", "b"):
        ledger = queue.ledger(name)
        ledger.heartbeat({"queue": "cpu"})
        job = queue.job()
        ledger.commit(taken(ledger, job), Outcome(counts=COUNTS))
    totals = queue.jobbook.totals()
    known = ("computed", "reused", "truncated", "tokens", "device_ms")
    assert [totals[name] for name in known] == [21, 6, 3, 270, 90]
    assert "device_ms_a" not in totals  # as many names as there ever were workers
    assert [(w.name, w.texts, w.tokens) for w in queue.jobbook.workers()] == [("a", 14, 180), ("b", 7, 90)]


@pytest.mark.parametrize("outcome", [Outcome(), Outcome(counts={"trials_done": 1})])
def test_a_chunk_without_texts_adds_none(queue: OwnQueue, outcome: Outcome) -> None:
    ledger = queue.ledger("a")
    ledger.heartbeat({"queue": "cpu"})
    job = queue.job()
    assert ledger.commit(taken(ledger, job), outcome).answer == "last"
    [worker] = queue.jobbook.workers()
    assert (worker.texts, worker.tokens, queue.jobbook.totals()["computed"]) == (0, 0, 0)


def test_totals_that_are_no_numbers_stop_no_work(queue: OwnQueue) -> None:
    ledger = queue.ledger("a")
    queue.client.set("jdq:totals", "no hash")
    queue.client.hset("jdq:workers:texts", "a", "no number")
    job = queue.job()
    assert ledger.commit(taken(ledger, job), Outcome(counts=COUNTS)).answer == "last"


def test_open_jobs_are_those_that_have_not_ended_and_those_that_wait_for_them(queue: OwnQueue) -> None:
    ledger, ended = queue.ledger("a"), queue.job()
    ledger.commit(taken(ledger, ended), Outcome())
    first = queue.job()
    second = queue.job(after=[first])
    third = queue.job(after=[second, first])
    assert [job.id for job in queue.jobbook.open_jobs()] == sorted([first, second, third])
    assert sum(group.jobs for group in queue.jobbook.survey()[0]) == 3
    queue.jobbook.cancel(first)
    assert queue.jobbook.open_jobs() == []
    assert queue.jobbook.survey() == ([], 0)


def test_open_jobs_and_their_chunks_are_counted_by_kind_state_and_queue(
    queue: OwnQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdq.worker.queue.jobbook._BATCH", 2)
    planned = queue.job()
    ledger = queue.ledger("a")
    ledger.commit(taken(ledger, planned), Outcome(follow_up=FollowUpChunks(chunks=9, queue="gpu")))
    first, second = (queue.ledger(name, queue="gpu") for name in "bc")
    taken(first, planned)
    second.release_after_fault(taken(second, planned), "broken")
    queue.client.hset(f"jdq:job:{planned}:live", "1", '{"tokens": 500}')
    queued = [queue.job() for _ in range(3)]
    broken = queue.job()
    queue.client.hdel(f"jdq:job:{broken}", "queue")
    groups, tokens = queue.jobbook.survey()
    numbers: Counter[tuple[str, ...]] = Counter()
    for of in groups:
        for name in ("jobs", "pending", "leased", "delayed"):
            numbers[of.kind, of.state, of.queue, name] += getattr(of, name)
    assert (+numbers, tokens) == (
        {
            ("train-head", "running", "gpu", "jobs"): 1,
            ("train-head", "running", "gpu", "pending"): 7,
            ("train-head", "running", "gpu", "leased"): 1,
            ("train-head", "running", "gpu", "delayed"): 1,
            ("train-head", "queued", "cpu", "jobs"): len(queued),
            ("train-head", "queued", "cpu", "pending"): len(queued),
        },
        500,
    )


def test_a_job_adds_up_the_device_time_of_all_attempts(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    lease = taken(ledger, job)
    clock.pass_s(2)
    ledger.release(lease, "the worker is stopping")
    lease = taken(ledger, job)
    clock.pass_s(60)
    ledger.commit(lease, Outcome(counts={"device_ms": 500}, follow_up=FollowUpChunks(chunks=1, queue="cpu")))
    assert queue.jobbook.job(job).used_s == 2.5
    taken(ledger, job)
    clock.pass_s(1)
    queue.jobbook.cancel(job)
    assert queue.jobbook.job(job).used_s == 3.5
