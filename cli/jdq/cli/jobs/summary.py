"""A job in one line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jdq.cli.jobs.progress import Progress, activity, progress_of, state_text
from jdq.cli.output import duration

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job


def summary(job: Job) -> str:
    """Id, state, what is done, rates, ETA, and the time that an ended job took."""
    progress = progress_of(job)
    parts = [f"{job.id}  {details(job)}"]
    if progress.eta_s is not None:
        parts.append(f"ETA {duration(progress.eta_s)}")
    if job.state.ended:
        parts.append(duration(job.wall_s))
    return ", ".join(parts)


def details(job: Job) -> str:
    """State, what the job does now, what is done, and rates."""
    progress = progress_of(job)
    parts = [doing_text(job)]
    if done := done_text(job):
        parts.append(done)
    if progress.texts_total is not None:
        parts.append(f"{progress.computed:,} computed, {progress.reused:,} reused")
    if progress.texts_per_s:
        parts.append(f"{progress.texts_per_s:,.1f} texts/s")
    if progress.tokens_per_s:
        parts.append(f"{progress.tokens_per_s:,.0f} tokens/s")
    parts += _training(progress)
    return ", ".join(parts)


def doing_text(job: Job) -> str:
    """State, and what the job does now if its progress does not show it."""
    doing = activity(job)
    return f"{state_text(job)}, {doing}" if doing else state_text(job)


def done_text(job: Job) -> str:
    """Texts, steps or trials done, of how many; empty if nothing is known."""
    progress = progress_of(job)
    done, total = progress.share
    if total is None:
        return ""
    if progress.texts_total is not None:
        return f"{done:,}/{total:,} texts"
    return f"{'trial' if 'trials_total' in job.counts else 'step'} {done:,}/{total:,}"


def _training(progress: Progress) -> list[str]:
    """Epoch and loss of a training."""
    parts = []
    if progress.epoch is not None:
        parts.append(f"epoch {progress.epoch:.2f}/{progress.epochs}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4g}")
    return parts
