"""What the ledger counts for monitoring: over all jobs, and of each worker."""

from __future__ import annotations

from collections import Counter

import pytest
import redis

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import SPEC, Clock
from tests.queue.ledgers import LedgerOf, taken

COUNTS = {"computed": 7, "reused": 2, "truncated": 1, "tokens": 90, "device_ms": 30, "device_ms_a": 30}


def of_times(jobbook: JobBook) -> dict[str, int]:
    """The counts and sums of times."""
    return {name: value for name, value in jobbook.totals().items() if name.startswith(("wait", "run", "chunk"))}


def test_a_job_counts_how_long_it_waited_and_ran_and_its_chunks_took(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    clock.pass_s(3)
    lease = taken(ledger, job)
    assert of_times(jobbook) == {"wait:train-head": 1, "wait_ms:train-head": 3000}

    clock.pass_s(2)
    ledger.commit(lease, Outcome(follow_up=FollowUpChunks(chunks=1, queue="cpu")))
    last = taken(ledger, job)
    clock.pass_s(0.5)
    ledger.commit(last, Outcome())
    assert of_times(jobbook) == {
        "wait:train-head": 1,
        "wait_ms:train-head": 3000,
        "chunk:train-head": 2,
        "chunk_ms:train-head": 2500,
        "run:train-head": 1,
        "run_ms:train-head": 2500,
    }


def test_a_clock_that_was_set_back_takes_no_time_away(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    job, _ = jobbook.create(SPEC)
    clock.pass_s(-60)
    taken(ledger_of("a"), job)
    assert of_times(jobbook) == {"wait:train-head": 1, "wait_ms:train-head": 0}


def test_a_job_that_fails_and_then_succeeds_ended_twice_and_ran_once(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    ledger.fail(taken(ledger, job), {"type": "E", "message": "m"})
    jobbook.retry(job)
    ledger.commit(taken(ledger, job), Outcome())
    totals = jobbook.totals()
    assert totals["ended:train-head:failed"] == totals["ended:train-head:succeeded"] == 1
    assert totals["run:train-head"] == totals["wait:train-head"] == 1


def test_attempts_that_end_badly_are_counted_by_their_cause(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    jobs = [jobbook.create(SPEC)[0] for _ in range(3)]
    ledger.release(taken(ledger, jobs[0]), "the worker is stopping")
    ledger.release_after_fault(taken(ledger, jobs[1]), "OSError")
    ledger.fail(taken(ledger, jobs[2]), {"type": "E", "message": "m"})
    totals = jobbook.totals()
    assert {name: totals[f"attempts:{name}"] for name in ("drain", "fault", "error")} == dict.fromkeys(
        ("drain", "fault", "error"), 1
    )
    assert "attempts:expired" not in totals


def test_committed_counts_are_added_up_over_all_jobs_and_by_worker(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    for name in ("a", "a", "b"):
        ledger = ledger_of(name)
        ledger.heartbeat({"queue": "cpu"})
        job, _ = jobbook.create(SPEC)
        ledger.commit(taken(ledger, job), Outcome(counts=COUNTS))
    totals = jobbook.totals()
    known = ("computed", "reused", "truncated", "tokens", "device_ms")
    assert [totals[name] for name in known] == [21, 6, 3, 270, 90]
    assert "device_ms_a" not in totals  # as many names as there ever were workers
    assert [(w.name, w.texts, w.tokens) for w in jobbook.workers()] == [("a", 14, 180), ("b", 7, 90)]


@pytest.mark.parametrize("outcome", [Outcome(), Outcome(counts={"trials_done": 1})])
def test_a_chunk_without_texts_adds_none(jobbook: JobBook, ledger_of: LedgerOf, outcome: Outcome) -> None:
    ledger = ledger_of("a")
    ledger.heartbeat({"queue": "cpu"})
    job, _ = jobbook.create(SPEC)
    assert ledger.commit(taken(ledger, job), outcome).answer == "last"
    [worker] = jobbook.workers()
    assert (worker.texts, worker.tokens, jobbook.totals()["computed"]) == (0, 0, 0)


def test_totals_that_are_no_numbers_stop_no_work(jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis) -> None:
    ledger = ledger_of("a")
    client.set("jdq:totals", "no hash")
    client.hset("jdq:workers:texts", "a", "no number")
    job, _ = jobbook.create(SPEC)
    assert ledger.commit(taken(ledger, job), Outcome(counts=COUNTS)).answer == "last"


def test_open_jobs_are_those_that_have_not_ended_and_those_that_wait_for_them(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    ledger = ledger_of("a")
    ended, _ = jobbook.create(SPEC)
    ledger.commit(taken(ledger, ended), Outcome())
    first, _ = jobbook.create(SPEC)
    second, _ = jobbook.create(SPEC, after=[first])
    third, _ = jobbook.create(SPEC, after=[second, first])
    assert [job.id for job in jobbook.open_jobs()] == sorted([first, second, third])
    assert sum(group.jobs for group in jobbook.survey()[0]) == 3
    jobbook.cancel(first)
    assert jobbook.open_jobs() == []
    assert jobbook.survey() == ([], 0)


def test_open_jobs_and_their_chunks_are_counted_by_kind_state_and_queue(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdq.worker.queue.jobbook._BATCH", 2)
    planned, _ = jobbook.create(SPEC)
    ledger = ledger_of("a")
    ledger.commit(taken(ledger, planned), Outcome(follow_up=FollowUpChunks(chunks=9, queue="gpu")))
    first, second = (ledger_of(name, queue="gpu") for name in "bc")
    taken(first, planned)
    second.release_after_fault(taken(second, planned), "broken")
    client.hset(f"jdq:job:{planned}:live", "1", '{"tokens": 500}')
    queued = [jobbook.create(SPEC)[0] for _ in range(3)]
    broken, _ = jobbook.create(SPEC)
    client.hdel(f"jdq:job:{broken}", "queue")
    groups, tokens = jobbook.survey()
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


def test_a_job_adds_up_the_device_time_of_all_attempts(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    lease = taken(ledger, job)
    clock.pass_s(2)
    ledger.release(lease, "the worker is stopping")
    lease = taken(ledger, job)
    clock.pass_s(60)
    ledger.commit(lease, Outcome(counts={"device_ms": 500}, follow_up=FollowUpChunks(chunks=1, queue="cpu")))
    assert jobbook.job(job).used_s == 2.5
    taken(ledger, job)
    clock.pass_s(1)
    jobbook.cancel(job)
    assert jobbook.job(job).used_s == 3.5
