"""The main job on a real engine, while workers are scaled and containers killed."""

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.compose.conftest import REPEATED, ROWS, VERSION
from tests.compose.stack import PROJECT, Stack, docker
from tests.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.slow]


def status_when(stack: Stack, job: str, *, chunks_done: int) -> dict[str, Any]:
    """The job's status once so many of its chunks are done; it must not have ended by then."""

    def reached() -> dict[str, Any] | None:
        status: dict[str, Any] = stack.ask("status", job)
        return status if status["chunks_done"] >= chunks_done or status["ended"] else None

    status = until(reached, within_s=120, why=f"{chunks_done} chunks of {job} are done")
    assert status["state"] == "running", f"the job ended before it was disturbed: {status}"
    return status


def check_features(stack: Stack, folder: Path, dataset: str) -> None:
    """Compares stored features with Hugging Face's encoder, in a worker's image."""
    script = PROJECT / "tests" / "compose" / "check_features.py"
    mounts = (f"{stack.name}_store:/store", f"{folder / 'models'}:/models:ro", f"{script}:/check.py:ro")
    options = [part for mount in mounts for part in ("--volume", mount)]
    image = f"jdq-worker-cpu:{VERSION}"
    docker(
        *("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", *options),
        *("--entrypoint", "python", image, "/check.py", dataset, "/models/tiny"),
    )


def check_counts(result: dict[str, Any], rows: int) -> None:
    """No text was computed twice; what a worker had stored, but not committed, when it ended counts as reused."""
    assert result["computed"] + result["reused"] == rows
    assert result["reused"] >= REPEATED


def test_nothing_is_lost_or_wrong_when_workers_are_scaled_and_containers_killed(stack: Stack, folder: Path) -> None:
    job = stack.submit("extract", "/data/jobs.csv")
    status_when(stack, job, chunks_done=3)
    stack.up(gpu_workers=4)
    until(lambda: len(stack.busy("gpu-worker")) == 4, within_s=60, why="four workers work on the job")

    killed = stack.busy("gpu-worker")[0]
    docker("kill", killed)
    done = stack.ask("status", job)["chunks_done"]
    status_when(stack, job, chunks_done=done + 3)  # the others go on

    docker("kill", stack.container("redis"))
    stack.up(gpu_workers=4)
    status_when(stack, job, chunks_done=done + 4)
    stack.up(gpu_workers=2)  # two are stopped, and release their chunks

    result = stack.succeeded(job, within_s=800)
    check_counts(result, ROWS)
    attempts = stack.ask("status", job)["attempts"]
    assert any(attempt["what"] == "expired" and killed in attempt["worker"] for attempt in attempts), attempts
    check_features(stack, folder, "jobs")

    again = stack.submit("extract", "/data/jobs.csv")
    result = stack.succeeded(again, within_s=60)
    assert (result["computed"], result["reused"]) == (0, ROWS)


def test_heads_fine_tunes_and_predictions_are_made(stack: Stack, folder: Path) -> None:
    extraction = stack.submit("extract", "/data/few.csv")
    head = stack.submit("train-head", "few")
    tuned = stack.submit("fine-tune", "/data/few.csv", "--epochs", "1", "--max-length", "32", "--batch-size", "16")
    predicted = stack.submit("predict", "/data/few.csv", "--head", head)
    stack.succeeded(extraction, within_s=90)
    assert stack.succeeded(head, within_s=90)["metrics"]["rows"] > 0
    stack.succeeded(tuned, within_s=180)
    stack.succeeded(predicted, within_s=90)

    stack.jdq("result", predicted, "--to", "/data/predicted.csv")
    with (folder / "data" / "predicted.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert all(row["predicted_label"] for row in rows)


def test_jobs_go_on_after_the_whole_stack_is_stopped_and_started(stack: Stack) -> None:
    # Another limit is another feature space: every text is computed again, which takes longer than stopping does.
    job = stack.submit("extract", "/data/jobs.csv", "--max-length", "512", "--name", "stopped")
    before = status_when(stack, job, chunks_done=2)
    stack.compose("stop")
    stack.up(gpu_workers=2)
    until(lambda: len(stack.busy("gpu-worker")) > 0, within_s=60, why="a worker takes the job up again")
    after = stack.ask("status", job)
    assert after["chunks_done"] >= before["chunks_done"]
    # They were stopped by SIGTERM: each released its chunks, and no lease had to expire.
    assert {attempt["what"] for attempt in after["attempts"]} <= {"drain"}
    result = stack.succeeded(job, within_s=800)
    assert result["computed"] == ROWS - REPEATED
