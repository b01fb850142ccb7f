"""A worker's turn: it stops when told to, and every way of ending a chunk is said to the ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from jdq.worker.process.chunk_loop import ChunkWork, Turn
from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.queue.contract import Extract, JobState
from jdq.worker.queue.ledger import Lease, More, Outcome
from tests.jobs.conftest import Workplace
from tests.waiting import until

SPEC = Extract(dataset="d", version="v", encoder="hash:8")
COMPUTING = threading.Event()


class Work:
    """A chunk of which the test says what it does while it computes."""

    def __init__(self, computes: object, outcome: Outcome) -> None:
        self._computes = computes
        self._outcome = outcome

    def prepare(self, pulse: Pulse) -> None:
        pass

    def compute(self, pulse: Pulse) -> None:
        self._computes(pulse)  # type: ignore[operator]

    def publish(self, pulse: Pulse) -> Outcome:
        return self._outcome


def run(workplace: Workplace, job: str, computes: object, *, chunks: int = 0) -> None:
    """A cpu worker's turns on the job; the first chunk adds so many, which are another turn's."""

    def work_for(lease: Lease) -> ChunkWork:
        more = More(chunks=chunks, queue="cpu") if chunks and lease.chunk == 0 else None
        return Work(computes, Outcome(more=more))

    ledger = workplace.runtime("cpu").ledger
    for _ in range(2 if chunks else 1):
        Turn(ledger, job, work_for=work_for, send=lambda orders: None, time_slice_s=5, heartbeat_s=0.05).run()


def wait_while(pulse: Pulse) -> None:
    COMPUTING.set()
    until(pulse.check, within_s=10, why="the worker is to stop")


def when_computing(act: Callable[[], object]) -> None:
    """Does this in another thread as soon as the worker computes."""
    COMPUTING.clear()
    threading.Thread(target=lambda: COMPUTING.wait(10) and act()).start()


def test_a_cancelled_job_stops_between_two_batches(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    when_computing(lambda: workplace.jobbook.cancel(job))
    began = time.monotonic()
    run(workplace, job, wait_while)
    assert time.monotonic() - began < 2
    assert workplace.jobbook.job(job).state is JobState.CANCELLED


def test_a_worker_told_to_stop_hands_its_chunks_back_unpunished(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    ledger = workplace.runtime("cpu").ledger
    when_computing(ledger.drain)
    run(workplace, job, wait_while)
    ledger.arrived()
    lease = ledger.next(job)
    assert lease is not None
    assert (lease.chunk, lease.attempt) == (0, 1)


def test_an_unexpected_error_is_tried_again_and_named(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)

    def fails(pulse: Pulse) -> None:
        raise ZeroDivisionError("of the device")

    run(workplace, job, fails)
    found = workplace.jobbook.job(job)
    assert found.state is JobState.RUNNING
    assert found.log[0]["reason"] == "ZeroDivisionError: of the device"


def test_all_chunks_of_a_job_are_committed_in_one_turn(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    run(workplace, job, lambda pulse: None, chunks=40)
    found = workplace.jobbook.job(job)
    assert (found.state, found.chunks_done) == (JobState.SUCCEEDED, 41)


def test_one_failing_chunk_does_not_keep_the_others_from_being_done(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)

    def fails_once(pulse: Pulse) -> None:
        if pulse.lease.chunk == 2 and pulse.lease.attempt == 1:
            raise OSError("a cable")

    run(workplace, job, fails_once, chunks=5)
    assert workplace.jobbook.job(job).chunks_done == 5

    def succeeded() -> bool:
        run(workplace, job, fails_once, chunks=5)
        return workplace.jobbook.job(job).state is JobState.SUCCEEDED

    until(succeeded, within_s=10, why="the failed chunk is tried again")


@pytest.mark.parametrize("texts", [3, 5])
def test_those_who_watch_see_how_far_a_chunk_is(workplace: Workplace, texts: int) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    seen: list[dict[str, int]] = []

    def reports(pulse: Pulse) -> None:
        pulse.after_batch(texts, 10 * texts)
        seen.extend(until(lambda: workplace.jobbook.job(job).live, within_s=10, why="the progress is reported"))

    run(workplace, job, reports)
    assert seen == [{"texts": texts, "tokens": 10 * texts}]
