"""Why a job waits, its place in the queue, and how long it is likely to take."""

from dataclasses import replace

import pytest

from jdq.cli.jobs.progress import state_text
from jdq.cli.jobs.waiting import expected, with_reasons
from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job, Worker
from tests.cli.conftest import CommandLine
from tests.cli.screens import WORKERS
from tests.cli.test_progress import JOB
from tests.queue.ledgers import SPEC

QUEUED = replace(JOB, state=JobState.QUEUED, queue="cpu", started=None, counts={}, workers=[], live=[], chunks_leased=0)
SEARCH = replace(JOB, id="train-head-search", counts={"trials_total": 8, "trials_done": 5}, chunks_leased=1)


def worker(state: str = "busy", job: str | None = SEARCH.id, queue: str = "cpu") -> Worker:
    return replace(WORKERS[0], name=f"{state}-{job}", state=state, job=job, queue=queue, reason=None)


def reason(job: Job, *workers: Worker) -> str | None:
    [found] = with_reasons([job], workers, [SEARCH])
    return found.held_back


def test_a_queued_job_says_what_its_only_worker_does() -> None:
    [found] = with_reasons([QUEUED], [worker(), worker("idle", None, "gpu")], [SEARCH])
    assert state_text(found) == "queued (the only cpu worker is busy with train-head-search, 5 of 8 trials)"


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        ([], "no cpu worker is running"),
        ([worker("dead")], "no cpu worker is running"),
        ([worker("sick", None)], "the only cpu worker is sick"),
        ([worker("sick", None), worker("drained", None)], "all 2 cpu workers are drained or sick"),
        ([worker(job="b"), worker(job="c")], "all 2 cpu workers are busy with b; c"),
        ([worker(job=each) for each in "bccde"], "all 5 cpu workers are busy with b; c and 2 more"),
        ([worker(), worker("idle", None)], None),
        ([worker(job=QUEUED.id)], None),
    ],
)
def test_what_keeps_the_workers_of_a_queue(workers: list[Worker], text: str | None) -> None:
    assert reason(QUEUED, *workers) == text


@pytest.mark.parametrize(
    "job",
    [
        replace(QUEUED, state=JobState.SUCCEEDED),
        replace(QUEUED, state=JobState.RUNNING, chunks_leased=1),
        replace(QUEUED, waits_for=["extract-a"]),
        replace(QUEUED, chunks_delayed=1),
    ],
)
def test_a_job_that_waits_for_no_worker_has_no_such_reason(job: Job) -> None:
    assert reason(job) is None


def test_a_quota_is_the_reason_where_there_is_one() -> None:
    assert reason(replace(QUEUED, held_back="bob has 2 of 2 devices"), worker()) == "bob has 2 of 2 devices"


def test_texts_of_a_job_are_counted_and_others_only_named() -> None:
    texts = replace(SEARCH, counts={"texts_total": 9000, "texts_done": 1200})
    plan = replace(SEARCH, counts={})
    for job, text in ((texts, "train-head-search, 1,200 of 9,000 texts"), (plan, "train-head-search")):
        [found] = with_reasons([QUEUED], [worker()], [job])
        assert found.held_back == f"the only cpu worker is busy with {text}"


def test_commands_say_why_a_job_waits(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    for command in (("status", job), ("jobs",)):
        assert "queued (no cpu worker is running)" in jdq.run(*command).stdout
    assert jdq.json("status", job)["held_back"] == "no cpu worker is running"


class Book(JobBook):
    """A job book of these open jobs, workers of the cpu queue in these states, and what train-head jobs took."""

    def __init__(self, *jobs: Job, totals: dict[str, int] | None = None, states: str = "idle busy") -> None:
        self._jobs = jobs
        self._totals = {"run:train-head": 2, "run_ms:train-head": 240_000} if totals is None else totals
        self._workers = [worker(state) for state in states.split()]

    def job(self, job: str) -> Job:
        return next(each for each in self._jobs if each.id == job)

    def open_jobs(self) -> list[Job]:
        return list(self._jobs)

    def totals(self) -> dict[str, int]:
        return self._totals

    def workers(self) -> list[Worker]:
        return self._workers


MINE = replace(QUEUED, id="mine", kind="train-head", spec=SPEC, created=100.0)


def other(id: str, **fields: object) -> Job:
    return replace(MINE, id=id, created=50.0, **fields)  # type: ignore[arg-type]


def test_the_place_and_the_time_count_what_goes_before_on_all_workers_of_the_queue() -> None:
    ahead = [other("a"), other("b", priority=3), other("c", chunks_leased=1, priority=7, started=0.0, read_at=60.0)]
    behind = [
        other("d", priority=7),
        other("e", queue="gpu"),
        other("f", waits_for=["g"]),
        replace(MINE, id="h", created=101.0),
    ]
    text = "3 jobs ahead of mine on the cpu queue; it starts in about 2 min 30 s; such a job takes about 2 min 00 s"
    assert expected(Book(MINE, *ahead, *behind), "mine") == text


def test_the_estimate_of_a_job_that_runs_is_its_own() -> None:
    running = other("a", chunks_leased=1, live=[{"eta_s": 600.0}])
    assert "1 job ahead of mine on the cpu queue; it starts in about 5 min 00 s" in expected(
        Book(MINE, running), "mine"
    )


def test_a_time_that_is_not_known_is_not_made_up() -> None:
    text = "1 job ahead of mine on the cpu queue; when it starts is not known yet; no such job has ended yet"
    assert expected(Book(MINE, other("a"), totals={}), "mine") == text
    assert expected(Book(MINE, states=""), "mine") == "mine is next on the cpu queue; no cpu worker is running"
    drained = "1 job ahead of mine on the cpu queue; all 2 cpu workers are drained or sick"
    assert expected(Book(MINE, other("a"), states="drained sick"), "mine") == drained
    assert expected(Book(MINE), "mine") == "mine is next on the cpu queue; such a job takes about 2 min 00 s"
    assert expected(Book(replace(MINE, waits_for=["a", "b"])), "mine") == "mine starts after a, b"


def test_a_submit_command_prints_what_to_expect(jdq: CommandLine) -> None:
    first = jdq.run("submit", "extract", jdq.file(), "--encoder", "hash:16", "--expect")
    assert " is next on the cpu queue; no cpu worker is running\n" in first.stderr
    assert len(first.stdout.split()) == 1


def test_a_time_limit_is_set_and_shown(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16", "--time-limit", "1.5h")
    assert jdq.json("status", job)["time_limit_s"] == 5400
    assert "\n  time limit 90 min 00 s\n" in jdq.run("status", job).stdout


@pytest.mark.parametrize("text", ["2", "0h", "-1h", "soon", "1hh"])
def test_a_time_limit_that_is_no_time_is_refused(jdq: CommandLine, text: str) -> None:
    found = jdq.run("submit", "extract", jdq.file(), "--time-limit", text, code=2)
    assert f"--time-limit takes a length of time such as 30m, 2h or 1d, not {text!r}" in found.stderr
