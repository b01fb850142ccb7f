"""A job's progress in one value: what `status`, `watch` and `--json` show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Texts and tokens of a job, including chunks in flight. Rates are per second of the job's running time.

    steps: of a training, or the trials of a search. epoch, loss: of a fine-tune. None where unknown.
    """

    texts_done: int
    texts_total: int | None  # None before the plan is made
    reused: int
    computed: int
    tokens: int
    texts_per_s: float | None
    tokens_per_s: float | None
    steps_done: int | None
    steps_total: int | None
    epoch: float | None
    epochs: int | None
    loss: float | None
    eta_s: float | None


def progress_of(job: Job) -> Progress:
    """The job's current progress."""
    in_flight = sum(live.get("texts", 0) for live in job.live)
    computed = job.counts.get("computed", 0) + in_flight
    tokens = job.counts.get("tokens", 0) + sum(live.get("tokens", 0) for live in job.live)
    total = job.counts.get("texts_total")
    done = job.counts.get("texts_done", 0) + in_flight
    wall = job.wall_s
    texts_per_s = computed / wall if wall and computed else None
    steps = _steps(job)
    return Progress(
        texts_done=done,
        texts_total=total,
        reused=job.counts.get("reused", 0),
        computed=computed,
        tokens=tokens,
        texts_per_s=texts_per_s,
        tokens_per_s=tokens / wall if wall and tokens else None,
        **steps,
        eta_s=None if job.state.ended else _eta_s((total or 0) - done, texts_per_s, steps, job),
    )


def _steps(job: Job) -> dict[str, Any]:
    """The steps of a training, or the trials of a search."""
    live = job.live[0] if job.live else {}
    done: int | None
    total: int | None
    if "trials_total" in job.counts:
        done, total = job.counts.get("trials_done", 0), job.counts["trials_total"]
    else:
        done, total = live.get("step"), live.get("steps")
    return {
        "steps_done": done,
        "steps_total": total,
        "epoch": live.get("epoch"),
        "epochs": live.get("epochs"),
        "loss": live.get("loss"),
    }


def _eta_s(texts_left: int, texts_per_s: float | None, steps: dict[str, Any], job: Job) -> float | None:
    """The training's own estimate, else one from the rate so far."""
    estimates = [live["eta_s"] for live in job.live if live.get("eta_s") is not None]
    if estimates:
        return float(max(estimates))
    if texts_per_s:
        return texts_left / texts_per_s
    if "trials_total" in job.counts and steps["steps_done"] and job.wall_s:
        return job.wall_s / float(steps["steps_done"]) * float(steps["steps_total"] - steps["steps_done"])
    return None


def state_text(job: Job) -> str:
    """The state, with the jobs that a queued job waits for, and whether it is being retried or of another version."""
    from jdq.worker.queue.contract import UnknownSpec

    if isinstance(job.spec, UnknownSpec):
        return f"{job.state} (made by a newer jdq?)"
    if job.waits_for:
        return f"{job.state} (waits for {', '.join(job.waits_for)})"
    if job.chunks_delayed and not job.chunks_leased and not job.state.ended:
        return f"{job.state} (retrying)"
    return str(job.state)


def describe_job(job: Job) -> dict[str, Any]:
    """The job for `--json`: stable names, times in seconds since 1970, None where not known yet."""
    import msgspec

    progress = asdict(progress_of(job))
    return {
        "job": job.id,
        "kind": job.kind,
        "state": str(job.state),
        "waits_for": job.waits_for,
        "dataset": job.spec.dataset,
        "version": job.spec.version,
        **progress,
        "chunks_done": job.chunks_done,
        "chunks_total": job.chunks_total,
        "chunks_running": job.chunks_leased,
        "chunks_retrying": job.chunks_delayed,
        "workers": job.workers,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "wall_s": job.wall_s,
        "attempts": job.log,
        "spec": msgspec.to_builtins(job.spec),
        "error": None if job.error is None else {"type": job.error.type, "message": job.error.message},
    }


def describe_result(job: Job) -> dict[str, Any]:
    """The result of an ended job, for `--json`."""
    progress = progress_of(job)
    counts: dict[str, Any] = {}
    if job.kind == "predict":
        counts = {"computed": progress.computed, "reused": progress.reused}
    elif job.kind == "extract":
        counts = {
            "computed": progress.computed,
            "reused": progress.reused,
            "skipped": job.counts.get("skipped", 0),
            "truncated": job.counts.get("truncated", 0),
            "unknown_tokens": job.counts.get("unknown_tokens", 0),
            "paths": sorted(name[5:] for name in job.counts if name.startswith("path_")),
            "tokens": progress.tokens,
            "texts_per_s": progress.texts_per_s,
            "tokens_per_s": progress.tokens_per_s,
        }
    return {
        "job": job.id,
        "kind": job.kind,
        "state": str(job.state),
        "wall_s": job.wall_s,
        **counts,
        **(job.result or {}),
    }
