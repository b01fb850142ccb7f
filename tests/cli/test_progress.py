"""Progress, rates and ETA of a job, from what its workers report."""

from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pytest

from jdq.cli.jobs.progress import activity, progress_of
from jdq.cli.jobs.summary import summary
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.jobs.plan import chunk_bounds, estimated_tokens
from jdq.worker.queue.contract import Extract, FineTune, JobState, TrainHead
from jdq.worker.queue.records import Job

EXTRACT = Extract(dataset="posts", version="0" * 12, encoder="facebook/bart-base")
JOB = Job(
    id="extract-k3v9x2pq",
    kind="extract",
    state=JobState.RUNNING,
    spec=EXTRACT,
    queue="gpu",
    created=0,
    started=10,
    read_at=100,
    chunks_done=1,
    chunks_total=5,
    chunks_leased=1,
    counts={"texts_total": 400, "texts_done": 0},
    workers=["gpu-1"],
)
MAX_LENGTH = 512


@pytest.mark.parametrize(
    ("order", "bytes_per_token"),
    [("random", 2.5), ("random", 4.4), ("random", 6.0), ("sorted", 4.4), ("reversed", 4.4)],
)
@pytest.mark.parametrize("n_workers", [1, 3])
def test_the_eta_is_right_from_five_percent_on(bytes_per_token: float, order: str, n_workers: int) -> None:
    """A simulated job of texts of skewed lengths, in chunks of many tokens, longest first within each."""
    random = np.random.default_rng(7)
    tokens = np.clip(random.lognormal(4.5, 1.1, size=8_000), 3, 5_000).astype(int)
    tokens = {"random": tokens, "sorted": np.sort(tokens), "reversed": np.sort(tokens)[::-1]}[order]
    n_bytes = (tokens * bytes_per_token * random.uniform(0.8, 1.2, size=len(tokens))).astype(int)
    tokens, estimates = np.minimum(tokens, MAX_LENGTH), estimated_tokens(n_bytes, MAX_LENGTH)
    errors = [
        abs((progress_of(job).eta_s or 0.0) - left_s) / left_s
        for job, left_s in simulated(tokens, estimates, n_workers)
        if left_s > 0 and left_s / (tokens.sum() / (1000 * n_workers)) < 0.95
    ]
    assert len(errors) > 20
    assert median(errors) < 0.1


def simulated(tokens: np.ndarray, estimates: np.ndarray, n_workers: int) -> list[tuple[Job, float]]:
    """The job after each fifth of a round of chunks, with the seconds that are left; a worker does 1,000 tokens/s.

    All workers are equally far in their chunks of a round.
    """
    bounds = chunk_bounds(estimates, int(estimates.sum() / (8 * n_workers)))
    chunks = [slice(begin, end) for begin, end in pairwise(bounds)]
    total_s = tokens.sum() / (1000 * n_workers)
    states = []
    for start in range(0, len(chunks), n_workers):
        done = slice(0, chunks[start].start)
        counts = {
            "texts_total": len(tokens),
            "texts_done": done.stop,
            "computed": done.stop,
            "tokens": int(tokens[done].sum()),
            "device_ms": int(tokens[done].sum()),
            "estimated_tokens": int(estimates.sum()),
            "estimated_done": int(estimates[done].sum()),
        }
        running = chunks[start : start + n_workers]
        for share in (0.2, 0.4, 0.6, 0.8):
            live = [in_flight(tokens[chunk], estimates[chunk], share) for chunk in running]
            workers = [f"gpu-{n}" for n in range(len(running))]
            past = counts["tokens"] + sum(each["tokens"] for each in live)
            states.append((replace(JOB, counts=counts, live=live, workers=workers), total_s - past / 1000 / n_workers))
    return states


def in_flight(tokens: np.ndarray, estimates: np.ndarray, share: float) -> dict[str, Any]:
    """What the worker of a chunk reports when it has done this share of its tokens."""
    ends = np.cumsum(np.sort(tokens)[::-1])
    n_done = int(np.searchsorted(ends, share * ends[-1])) + 1
    done = int(ends[n_done - 1])
    return {
        "texts": n_done,
        "tokens": done,
        "device_s": done / 1000,
        "chunk_tokens": int(tokens.sum()),
        "chunk_estimated": int(estimates.sum()),
    }


def test_rates_are_by_computing_time_and_not_by_the_time_of_loading() -> None:
    counts = {"computed": 1, "tokens": 40, "device_ms": 500, "device_ms_gpu-1": 500}
    ended = replace(JOB, state=JobState.SUCCEEDED, ended=70, counts=counts, workers=[], live=[])
    progress = progress_of(ended)
    assert (progress.texts_per_s, progress.tokens_per_s, progress.eta_s) == (2.0, 80.0, None)
    running = progress_of(replace(JOB, counts={}, live=[{"texts": 3, "tokens": 120, "device_s": 1.5}]))
    assert (running.texts_per_s, running.tokens_per_s) == (2.0, 80.0)


def test_the_rate_of_several_workers_is_that_of_all_together() -> None:
    counts = {"computed": 60, "tokens": 600, "device_ms": 9000}
    assert progress_of(replace(JOB, counts=counts, workers=["a", "b", "c"])).texts_per_s == 20
    by_worker = {"device_ms_a": 3000, "device_ms_b": 3000, "device_ms_c": 3000}
    ended = replace(JOB, state=JobState.SUCCEEDED, ended=70, workers=[], counts=counts | by_worker)
    assert progress_of(ended).texts_per_s == 20


def test_the_rate_of_a_job_of_older_workers_is_by_its_wall_time() -> None:
    ended = replace(JOB, state=JobState.SUCCEEDED, ended=70, workers=[], counts={"computed": 120})
    assert progress_of(ended).texts_per_s == 2.0
    assert progress_of(replace(JOB, counts={"texts_total": 300, "texts_done": 180, "computed": 180})).eta_s == 60


FINE_TUNE = replace(
    JOB,
    kind="fine-tune",
    spec=FineTune(dataset="posts", version="0" * 12, options=FineTuneOptions(encoder="facebook/bart-large")),
)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (JOB, "loading facebook/bart-base"),
        (replace(JOB, chunks_done=0, queue="cpu"), "planning"),
        (replace(JOB, counts={"computed": 3}), None),
        (replace(JOB, live=[{"texts": 3}]), None),
        (replace(JOB, workers=[]), None),
        (replace(JOB, state=JobState.SUCCEEDED), None),
        (replace(JOB, queue="cpu"), None),
        (replace(JOB, kind="train-head", spec=TrainHead(dataset="d", version="v")), "reading features"),
        (
            replace(JOB, kind="train-head", spec=TrainHead(dataset="d", version="v"), counts={"trials_total": 9}),
            None,
        ),
        (FINE_TUNE, "loading facebook/bart-large"),
        (replace(FINE_TUNE, live=[{"phase": "tokenize", "step": 0, "steps": 9}]), "tokenizing"),
        (replace(FINE_TUNE, live=[{"phase": "train", "step": 1, "steps": 9}]), None),
    ],
)
def test_what_happens_before_the_first_batch_is_said(job: Job, said: str | None) -> None:
    assert activity(job) == said
    assert said is None or f"{job.id}  running, {said}" in summary(job)
