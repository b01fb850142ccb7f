"""What `jdq top` shows: jobs, workers, queues and throughput at one moment."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jdq.cli.jobs.progress import progress_of, state_text
from jdq.cli.jobs.summary import done_text
from jdq.cli.output import duration
from jdq.worker.queue.contract import QUEUES, JobState

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job, Worker

# The first digits of a GPU's name, which JDQ_GPUS also accepts, and the rest; `jdq workers` shows all of it.
UUID = re.compile(r"\b((?:GPU|MIG)-[0-9a-f]{8})[0-9a-f-]+$")
BLOCKS = "▁▂▃▄▅▆▇█"
HISTORY = 240
JOB_COLUMNS = ("job", "state", "done", "ETA", "dataset", "tokens/s", "reason")
WORKER_COLUMNS = ("worker", "state", "queue", "device", "job", "use")
_RANK = {JobState.RUNNING: 0, JobState.QUEUED: 1, JobState.FAILED: 2}
# How jobs may be sorted, by the name that the screen shows; jobs come newest first.
ORDERS = {
    "state": lambda job: (_RANK.get(job.state, 3), -job.created),
    "newest": lambda job: -job.created,
    "dataset": lambda job: (job.spec.dataset, -job.created),
    "longest": lambda job: -(job.wall_s or 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """use: what each worker uses of its machine, by the worker's name, if that is known."""

    jobs: Sequence[Job]
    workers: Sequence[Worker]
    use: dict[str, str] = field(default_factory=dict)


class Throughput:
    """Tokens per second of all jobs together, over time: the last `length` values."""

    def __init__(self, length: int = HISTORY) -> None:
        self.history: deque[float] = deque(maxlen=length)
        self._last: tuple[float, int] | None = None

    def add(self, at: float, tokens: int) -> None:
        """The tokens of all jobs until now; the time is in seconds."""
        if self._last is not None and at > self._last[0]:
            self.history.append(max(0.0, (tokens - self._last[1]) / (at - self._last[0])))
        self._last = (at, tokens)


def tokens_of(jobs: Iterable[Job]) -> int:
    """All tokens that the jobs' workers have processed."""
    return sum(job.counts.get("tokens", 0) + sum(live.get("tokens", 0) for live in job.live) for job in jobs)


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values, one character each, the greatest at full height."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0) or 1.0
    return "".join(BLOCKS[round(value / most * (len(BLOCKS) - 1))] for value in shown)


def totals(jobs: Iterable[Job]) -> str:
    """How many jobs are in each state."""
    numbers = Counter(job.state for job in jobs)
    return ", ".join(f"{numbers[state]:,} {state}" for state in JobState if numbers[state]) or "no jobs"


def queue_line(queue: str, overview: Overview) -> str:
    """How many chunks wait for the queue's workers, and how many of these are busy."""
    jobs = [job for job in overview.jobs if job.queue == queue and not job.state.ended]
    leased = sum(job.chunks_leased for job in jobs)
    pending = sum(max(0, job.chunks_total - job.chunks_done - job.chunks_leased) for job in jobs)
    return f"{queue} queue: {queue_text(queue, pending, leased, overview.workers)}"


def queue_text(queue: str, pending: int, leased: int, workers: Iterable[Worker]) -> str:
    """The chunks of the queue in these states, and how many of its workers are busy."""
    living = [worker for worker in workers if worker.queue == queue and worker.state != "dead"]
    busy = sum(worker.state == "busy" for worker in living)
    return f"{pending:,} chunks pending, {leased:,} leased; {busy} of {len(living)} workers busy"


def head_lines(overview: Overview) -> list[str]:
    """Totals and queues."""
    return [totals(overview.jobs), *(queue_line(queue, overview) for queue in QUEUES)]


def job_row(job: Job) -> list[str]:
    """A row under JOB_COLUMNS."""
    progress = progress_of(job)
    rate = f"{progress.tokens_per_s:,.0f}" if progress.tokens_per_s else ""
    eta = "" if progress.eta_s is None else duration(progress.eta_s)
    return [job.id, state_text(job), done_text(job), eta, job.spec.dataset, rate, reason_of(job).partition("\n")[0]]


def reason_of(job: Job) -> str:
    """Why the job failed, or why its last attempt did."""
    if job.error:
        return job.error.message
    return str(job.log[-1]["reason"]) if job.log and not job.state.ended else ""


def worker_row(worker: Worker, overview: Overview) -> list[str]:
    """A row under WORKER_COLUMNS."""
    use = worker.reason or overview.use.get(worker.name, "")
    return [worker.name, worker.state, worker.queue, UUID.sub(r"\1", worker.device), worker.job or "", use]
