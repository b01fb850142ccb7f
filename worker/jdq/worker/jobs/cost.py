"""What the features of a head cost: one extraction serves many heads, so it is reported apart from their training."""

from typing import Any

from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.jobbook import UnknownJob


def extraction_cost(job: str, runtime: Runtime) -> dict[str, Any]:
    """Texts computed, reused and skipped, tokens, device and wall time in seconds; only its id if the job is gone."""
    try:
        extraction = runtime.jobbook.job(job)
    except UnknownJob:
        return {"job": job}
    return {
        "job": job,
        "computed": extraction.counts.get("computed", 0),
        "reused": extraction.counts.get("reused", 0),
        "skipped": extraction.counts.get("skipped", 0),
        "tokens": extraction.counts.get("tokens", 0),
        "device_s": extraction.counts.get("device_ms", 0) / 1000,
        "wall_time_s": round(extraction.wall_s or 0.0, 3),
    }
