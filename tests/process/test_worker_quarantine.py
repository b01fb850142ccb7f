"""When a worker's heartbeat quarantines it, and when it recovers."""

import signal
import time

import pytest
import redis

from jdq.worker.process import worker_heartbeat
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.self_test import Recovery, SelfTest
from jdq.worker.process.worker_heartbeat import WorkerHeartbeat
from jdq.worker.queue.jobbook import JobBook
from tests.process.conftest import SPEC, ignore, listed
from tests.process.test_watching import in_place
from tests.waiting import until


def test_a_device_that_does_not_compute_quarantines_its_worker(
    heartbeat: WorkerHeartbeat,
    jobbook: JobBook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    code = "import sys; sys.exit('cuda:99 does not compute' if 'cuda:99' in sys.argv else 0)"
    in_test = lambda device: in_place(SelfTest(device), code, device)  # noqa: E731
    monkeypatch.setattr(worker_heartbeat, "SelfTest", in_test)
    heartbeat._send()
    heartbeat.test_device("cpu")
    assert listed(jobbook).reason is None
    heartbeat.test_device("cuda:99")
    heartbeat._send()
    worker = listed(jobbook)
    assert worker.state == "sick"
    assert worker.reason == "self-test: cuda:99 does not compute"
    assert caplog.messages == [f"{worker.reason}; this worker takes no work"]
    assert heartbeat._recovery._recover == heartbeat._recover


def test_a_quarantined_worker_takes_no_tickets_until_it_has_recovered(
    heartbeat: WorkerHeartbeat, jobbook: JobBook
) -> None:
    ended: list[int] = []
    takes: list[bool] = []
    heartbeat._recovery = Recovery(in_place(SelfTest("cpu"), ""), heartbeat._recover)
    heartbeat.ready(ended.append, takes.append)
    assert takes == []
    heartbeat._runtime.ledger.quarantine("wrong numbers")
    heartbeat._send()
    heartbeat._send()
    assert takes == [False]
    heartbeat.start()  # registration forgets the quarantine
    until(lambda: takes == [False, True])
    heartbeat._runtime.ledger.quarantine("wrong numbers")  # its self-test passes
    until(lambda: takes == [False, True, False, True])
    assert ended == [signal.SIGTERM]
    assert listed(jobbook).state == "idle"


def test_a_worker_recovers_by_a_test_of_its_own_device(runtime: Runtime) -> None:
    heartbeat = WorkerHeartbeat(runtime, device="cuda:9")
    assert heartbeat._recovery._recover == heartbeat._recover
    assert heartbeat._recovery._test._command[-1] == "cuda:9"


def test_a_worker_does_not_recover_while_its_process_is_busy(heartbeat: WorkerHeartbeat, jobbook: JobBook) -> None:
    ledger, ended = heartbeat._runtime.ledger, list[int]()
    heartbeat.ready(ended.append, ignore)
    job = jobbook.create(SPEC)[0]
    assert ledger.next(job)
    ledger.quarantine("wrong numbers")
    assert not heartbeat._recover()
    assert (ended, listed(jobbook).state) == ([], "sick")
    ledger.mark_idle(job)
    assert heartbeat._recover()
    assert (ended, listed(jobbook).state) == ([signal.SIGTERM], "idle")


def test_a_process_that_is_too_stuck_to_renew_its_leases_is_killed_and_its_worker_quarantined(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, client: redis.Redis
) -> None:
    ended: list[int] = []
    heartbeat.start()
    listed(jobbook)
    heartbeat.ready(ended.append, ignore)
    time.sleep(0.5)  # longer than the bound: nothing is held, so nothing is stuck
    assert ended == []
    client.hset("jdq:workers:busy", "w", "some-job")
    until(lambda: ended)
    assert ended[0] == signal.SIGKILL
    until(lambda: str(listed(jobbook).reason).startswith("the working process has renewed no lease for 0 s"))
