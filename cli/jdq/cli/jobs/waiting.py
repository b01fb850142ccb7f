"""Why jobs wait, and how long they are likely to, judged by the current jobs and workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jdq.cli.jobs.progress import progress_of
from jdq.cli.output import counted, duration

if TYPE_CHECKING:
    from jdq.worker.queue.jobbook import JobBook
    from jdq.worker.queue.records import Job, Worker

SHOWN = 2  # among the jobs that workers are busy with


def explained(book: JobBook, jobs: Sequence[Job]) -> list[Job]:
    """The jobs; for those that wait for a worker, `held_back` says why."""
    if not any(map(_waits, jobs)):
        return list(jobs)
    workers = book.workers()
    return with_reasons(jobs, workers, book.read([worker.job for worker in workers if worker.job]))


def with_reasons(jobs: Sequence[Job], workers: Sequence[Worker], busy_with: Iterable[Job]) -> list[Job]:
    """Like `explained`, from what has already been read. busy_with: the jobs that the workers are busy with."""
    by_id = {job.id: job for job in busy_with}
    return [replace(job, held_back=_reason(job, workers, by_id)) if _waits(job) else job for job in jobs]


def _waits(job: Job) -> bool:
    """Whether no worker has a chunk of the job and its record does not say why."""
    return not (job.state.ended or job.chunks_leased or job.waits_for or job.held_back or job.chunks_delayed)


def _reason(job: Job, workers: Sequence[Worker], by_id: Mapping[str, Job]) -> str | None:
    living = _living(job.queue, workers)
    if not living:
        return f"no {job.queue} worker is running"
    them = f"the only {job.queue} worker is" if len(living) == 1 else f"all {len(living)} {job.queue} workers are"
    busy_with = list(dict.fromkeys(worker.job for worker in living if worker.state == "busy" and worker.job))
    states = {worker.state for worker in living}
    if "idle" in states or job.id in busy_with:
        return None
    if not busy_with:
        return f"{them} {' or '.join(sorted(states))}"
    shown = [_doing(by_id[each]) if each in by_id else each for each in busy_with[:SHOWN]]
    more = f" and {len(busy_with) - SHOWN} more" if len(busy_with) > SHOWN else ""
    return f"{them} busy with {'; '.join(shown)}{more}"


def _living(queue: str, workers: Sequence[Worker]) -> list[Worker]:
    return [worker for worker in workers if worker.queue == queue and worker.state != "dead"]


def _doing(job: Job) -> str:
    done, total = progress_of(job).share
    unit = "trials" if "trials_total" in job.counts else "texts" if "texts_total" in job.counts else "steps"
    return job.id if total is None else f"{job.id}, {done:,} of {total:,} {unit}"


def expected(book: JobBook, id: str) -> str:
    """The job's place in its queue, when it is likely to start, and how long such jobs take."""
    job, totals = book.job(id), book.totals()
    if job.waits_for:
        return f"{id} starts after {', '.join(job.waits_for)}"
    ahead = [other for other in book.open_jobs() if other.id != id and _goes_before(other, job)]
    before = f"{counted(len(ahead), 'job')} ahead of {id}" if ahead else f"{id} is next"
    place = f"{before} on the {job.queue} queue"
    workers = book.workers()
    devices = sum(worker.state not in ("sick", "drained") for worker in _living(job.queue, workers))
    left = [_left_s(other, totals) for other in ahead]
    if not devices:
        return f"{place}; {_reason(job, workers, {})}"
    starts = None if None in left else sum(filter(None, left)) / devices
    takes = _usual_s(job, totals)
    start = "when it starts is not known yet" if starts is None else f"it starts in about {duration(starts)}"
    length = "no such job has ended yet" if takes is None else f"such a job takes about {duration(takes)}"
    return "; ".join([place, *([start] if ahead else []), length])


def _goes_before(other: Job, job: Job) -> bool:
    if other.queue != job.queue or other.waits_for:
        return False
    return other.chunks_leased > 0 or (other.priority, other.created) < (job.priority, job.created)


def _left_s(job: Job, totals: Mapping[str, int]) -> float | None:
    """How long the job is likely to take from now on, on one device: its own estimate, else the usual time."""
    if (eta_s := progress_of(job).eta_s) is not None:
        return eta_s
    usual_s = _usual_s(job, totals)
    return None if usual_s is None else max(0.0, usual_s - (job.wall_s or 0.0))


def _usual_s(job: Job, totals: Mapping[str, int]) -> float | None:
    """The mean time from start to end of the jobs of this kind that have succeeded."""
    number = totals.get(f"run:{job.kind}", 0)
    return totals[f"run_ms:{job.kind}"] / number / 1000 if number else None
