"""A chunk whose work must stop: it gets time for its steps, and else its process ends."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.lease_heartbeat import Draining, HeldLease
from jdq.worker.queue.contract import FineTune, JobState
from jdq.worker.queue.ledger import Lease, Outcome
from tests.jobs.chunks import SPEC, Work, loop, make_due, new_loop, nothing, planned, run
from tests.jobs.conftest import Workplace
from tests.waiting import until

COMPUTING = threading.Event()


def wait_while(held: HeldLease) -> None:
    COMPUTING.set()
    until(held.check, within_s=10, why="the worker is to stop")


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


def test_a_stopping_worker_releases_its_chunk_and_the_attempt_does_not_count(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    ledger = workplace.runtime("cpu").ledger
    when_computing(ledger.drain)
    run(workplace, job, wait_while)
    ledger.register()
    lease = ledger.next(job)
    assert lease is not None
    assert (lease.chunk, lease.attempt) == (0, 1)


def test_a_worker_that_makes_room_goes_on_with_the_urgent_job_and_then_resumes(workplace: Workplace) -> None:
    spec = FineTune(dataset="d", version="v", options=FineTuneOptions(encoder="e"))
    workplace.runtime("gpu").ledger.heartbeat({})
    low, _ = workplace.jobbook.create(spec, priority="low")
    worked_on: list[str] = []

    def work(held: HeldLease) -> None:
        worked_on.append(held.lease.job)
        if worked_on == [low]:
            wait_while(held)

    when_computing(lambda: workplace.jobbook.create(spec, priority="high", job="urgent"))
    new_loop(workplace, low, lambda lease: Work(work, Outcome), queue="gpu").run()
    assert worked_on == [low, "urgent", low]
    assert [workplace.jobbook.job(job).state for job in (low, "urgent")] == [JobState.SUCCEEDED] * 2
    [event] = workplace.jobbook.job(low).log
    assert (event["what"], event["reason"]) == ("drain", "it made room for an urgent job")


ORPHAN = """
import os, sys, time
from jdq.worker.config import read_config
from jdq.worker.process.lease_heartbeat import Draining, LeaseHeartbeat
from jdq.worker.process.progress_watch import ProgressWatch
from jdq.worker.process.runtime import Runtime

if os.fork():
    sys.stdin.read()  # the parent dies when the test closes its standard input
    os._exit(0)
ledger = Runtime(read_config(), worker="orphan", queue="cpu").ledger
watch = ProgressWatch(60, interval_s=0.05, on_cpu=True)
with LeaseHeartbeat(ledger, heartbeat_s=0.05, watch=watch, hangs=print, ignores_stop=print) as heartbeat:
    held = heartbeat.hold(ledger.next(sys.argv[1]))
    print("held", flush=True)
    try:
        while True:
            held.check()
            time.sleep(0.02)
    except Draining:
        ledger.release(held.lease, "the parent is dead")
"""


def test_a_process_whose_parent_died_releases_its_chunk(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    command = [sys.executable, "-c", ORPHAN, job]
    environment = os.environ | workplace.environment
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"held\n"
        time.sleep(0.3)
        assert workplace.jobbook.job(job).workers == ["orphan"]
        parent.communicate(timeout=20)  # until both have ended
    found = workplace.jobbook.job(job)
    assert (found.workers, found.log[0]["what"]) == ([], "drain")


HANGING = """
import sys, threading, time
from jdq.worker.config import read_config
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.ledger import Outcome

class Work:
    def __init__(self, chunk):
        self.chunk = chunk
    def prepare(self):
        pass
    def compute(self, prepared, held):
        if self.chunk == 1:
            threading.Event().wait()
    def publish(self, computed):
        return Outcome()

runtime = Runtime(read_config(), worker="hangs", queue="cpu")
ChunkLoop(
    runtime.ledger, sys.argv[1], work_for=lambda lease: Work(lease.chunk), send=lambda orders: None,
    time_slice_s=60, heartbeat_s=0.1, stall_s=float(sys.argv[2]), on_cpu=False,
).run()
"""


def test_a_chunk_that_hangs_goes_to_others_and_its_process_and_worker_are_taken_out_of_service(
    workplace: Workplace,
) -> None:
    job = planned(workplace, 2)
    command = [sys.executable, "-c", HANGING, job, "0.5"]
    environment = os.environ | workplace.environment
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "in compute" in ended.stderr  # where it hangs
    assert workplace.client.hkeys("jdq:workers:sick") == ["hangs"]
    found = workplace.jobbook.job(job)
    assert {(event["chunk"], event["what"], event["reason"]) for event in found.log} == {
        (1, "fault", "no progress for 1 s"),  # 0.5 s, rounded up to a heartbeat
        (2, "drain", "no progress for 1 s"),  # it only waited
    }
    assert (found.chunks_leased, found.chunks_delayed) == (0, 1)
    make_due(workplace, job, chunk=1)
    run(workplace, job, nothing)
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED


@pytest.mark.parametrize("how", ["cancel", "drain"])
def test_a_process_whose_work_does_not_look_whether_it_must_stop_ends_within_seconds(
    workplace: Workplace, how: str
) -> None:
    job = planned(workplace, 2)
    command = [sys.executable, "-c", HANGING, job, "600"]
    with subprocess.Popen(command, env=os.environ | workplace.environment, stderr=subprocess.DEVNULL) as process:
        until(lambda: workplace.jobbook.job(job).chunks_leased == 2, within_s=20)
        workplace.jobbook.cancel(job) if how == "cancel" else workplace.client.sadd("jdq:workers:drain", "hangs")
        began = time.monotonic()
        assert process.wait(20) == 1
        assert 4 < time.monotonic() - began < 9
    found = workplace.jobbook.job(job)
    assert (found.chunks_leased, found.chunks_delayed) == (0, 0)
    assert [event["what"] for event in found.log] == ([] if how == "cancel" else ["drain", "drain"])
    assert workplace.client.hkeys("jdq:workers:sick") == []


def test_work_that_looks_rarely_is_granted_some_more_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    held = HeldLease(Lease(job="j", chunk=0, token="t", attempt=1, spec_json="{}"))
    with held.working():
        for _ in range(3):
            held.check()
            now[0] += 4
        held.tell("drain")
        now[0] += 11
        held.tell("drain")
        assert not held.ignores_stop
        now[0] += 2
        assert held.ignores_stop
        with pytest.raises(Draining):
            held.check()
        assert not held.ignores_stop  # it saves a checkpoint
    with held.working():
        now[0] += 100
    assert not held.ignores_stop  # nothing works on it


def test_work_that_reports_or_computes_on_the_cpu_does_not_hang(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    ends = time.monotonic() + 1.2

    def reports(held: HeldLease) -> None:
        while time.monotonic() < ends:
            held.check()
            time.sleep(0.05)
        while time.monotonic() < ends + 1.2:
            sum(range(10_000))

    loop(workplace, job, lambda lease: Work(reports, Outcome), stall_s=0.4)
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED


def test_a_loop_that_is_stopped_releases_its_chunks_and_takes_no_other(workplace: Workplace) -> None:
    job = planned(workplace, 5)
    stopping: list[ChunkLoop] = []
    when_computing(lambda: stopping[0].stop())
    stopping.append(new_loop(workplace, job, lambda lease: Work(wait_while, Outcome)))
    stopping[0].run()
    found = workplace.jobbook.job(job)
    assert (found.chunks_leased, found.chunks_done) == (0, 1)
    assert {entry["what"] for entry in found.log} == {"drain"}
