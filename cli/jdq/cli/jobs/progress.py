"""A job's progress in one value: what `status`, `watch` and `--json` show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job


# The activity that a fine-tune's worker reports, in words.
_PHASES = {"tokenize": "tokenizing", "evaluate": "evaluating", "save": "saving"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Texts and tokens of a job, including chunks in flight. Rates are per second of computing, on all its devices.

    steps: of a training, or the trials of a search. epoch, loss: of a fine-tune. None if unknown.
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

    @property
    def share(self) -> tuple[int, int | None]:
        """How much is done, of how much: texts, else steps; the latter None if unknown."""
        if self.texts_total is not None:
            return self.texts_done, self.texts_total
        return self.steps_done or 0, self.steps_total


def progress_of(job: Job) -> Progress:
    """The job's current progress."""
    in_flight = _live(job, "texts")
    computed = job.counts.get("computed", 0) + in_flight
    tokens = job.counts.get("tokens", 0) + _live(job, "tokens")
    seconds = _computing_s(job)
    texts_per_s = computed / seconds if seconds and computed else None
    steps = _steps(job)
    return Progress(
        texts_done=job.counts.get("texts_done", 0) + in_flight,
        texts_total=job.counts.get("texts_total"),
        reused=job.counts.get("reused", 0),
        computed=computed,
        tokens=tokens,
        texts_per_s=texts_per_s,
        tokens_per_s=tokens / seconds if seconds and tokens else None,
        **steps,
        eta_s=None if job.state.ended else _eta_s(job, tokens, seconds, texts_per_s, steps),
    )


def activity(job: Job) -> str | None:
    """What a running job does before its first progress, or between training steps; None if its progress shows it."""
    if not job.workers or job.state.ended:
        return None
    if phase := next((live["phase"] for live in job.live if "phase" in live), None):
        return _PHASES.get(phase)
    if job.live or job.counts.get("computed") or "trials_total" in job.counts:
        return None
    match job.kind:
        case "train-head" | "find-label-errors" | "find-duplicates":
            return "reading features"
        case "fine-tune":
            return f"loading {job.spec.options.encoder}"  # type: ignore[union-attr]
        case "extract" | "predict" if not job.chunks_done:
            return "planning"
        case _ if job.queue == "gpu":
            return f"loading {getattr(job.spec, 'encoder', None) or 'the encoder'}"
    return None


def _live(job: Job, name: str) -> Any:
    """The sum over the chunks in flight."""
    return sum(live.get(name, 0) for live in job.live)


def _computing_s(job: Job) -> float | None:
    """Seconds of computing so far, on all devices side by side; the wall time if workers do not report it."""
    device_s = job.counts.get("device_ms", 0) / 1000 + _live(job, "device_s")
    if job.state.ended:
        # Assumes that workers share a job evenly, and that the one that computed longest has done so from the
        # beginning.
        device_s = max((ms for name, ms in job.counts.items() if name.startswith("device_ms_")), default=0) / 1000
    return device_s / max(1, 1 if job.state.ended else len(job.workers)) or job.wall_s


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


def _eta_s(
    job: Job, tokens: int, seconds: float | None, texts_per_s: float | None, steps: dict[str, Any]
) -> float | None:
    """The training's own estimate, else one from the rate so far: of tokens, if the plan has estimated their number."""
    estimates = [live["eta_s"] for live in job.live if live.get("eta_s") is not None]
    if estimates:
        return float(max(estimates))
    if seconds and tokens and "estimated_tokens" in job.counts:
        return max(0.0, _tokens_total(job) - tokens) * seconds / tokens
    if texts_per_s:
        return (job.counts.get("texts_total", 0) - job.counts.get("texts_done", 0)) / texts_per_s
    if "trials_total" in job.counts and steps["steps_done"] and job.wall_s:
        return job.wall_s / float(steps["steps_done"]) * float(steps["steps_total"] - steps["steps_done"])
    return None


def _tokens_total(job: Job) -> float:
    """The plan's estimate from the length of the texts, corrected by the tokens of the chunks known so far."""
    known = job.counts.get("tokens", 0) + _live(job, "chunk_tokens")
    estimated = job.counts.get("estimated_done", 0) + _live(job, "chunk_estimated")
    return job.counts["estimated_tokens"] * (known / estimated if known and estimated else 1.0)


def state_text(job: Job) -> str:
    """The state, with the jobs that a queued job waits for, and whether it is being retried or of another version."""
    from jdq.worker.queue.contract import UnknownSpec

    if isinstance(job.spec, UnknownSpec):
        return f"{job.state} (made by a newer jdq?)"
    if job.waits_for:
        return f"{job.state} (waits for {', '.join(job.waits_for)})"
    if job.held_back and not job.chunks_leased and not job.state.ended:
        return f"{job.state} ({job.held_back})"
    if job.chunks_delayed and not job.chunks_leased and not job.state.ended:
        return f"{job.state} (retrying)"
    return str(job.state)


def describe_job(job: Job) -> dict[str, Any]:
    """The job for `--json`: stable names, times in seconds since 1970, None if not known yet."""
    import msgspec

    progress = asdict(progress_of(job))
    return {
        "job": job.id,
        "kind": job.kind,
        "owner": job.owner,
        "held_back": job.held_back,
        "time_limit_s": job.time_limit_s,
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
            "tokens_before_truncation": job.counts.get("tokens_before_truncation", progress.tokens),
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
