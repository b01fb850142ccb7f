"""The threads of a worker's main process: the child watch, the self-test and the recovery, the heartbeats' ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest

from jdq.worker.process import self_test
from jdq.worker.process.child_watch import ChildWatch, reason_of
from jdq.worker.process.self_test import Recovery, SelfTest
from tests.waiting import until


@dataclass
class Process:
    """A process of the pool that the test ends."""

    pid: int
    exitcode: int | None = None


def test_each_end_of_a_child_is_reported_once_also_when_the_pool_has_forgotten_it() -> None:
    pool = [Process(1), Process(2)]
    died: list[tuple[int, str]] = []
    watch = ChildWatch(lambda: pool, lambda pid, reason: died.append((pid, reason)))
    watch.look()
    first = pool.pop(0)
    first.exitcode = -9
    pool.append(Process(3))
    watch.look()
    watch.look()
    assert died == [(1, "its process was killed by SIGKILL (out of memory?)")]
    pool[1].exitcode = 0
    watch.look()
    watch.look()  # the pool lists it until it is replaced
    assert died[1:] == [(3, "its process ended with exit code 0")]


def test_the_watch_is_a_thread_that_logs_only_unexpected_ends(caplog: pytest.LogCaptureFixture) -> None:
    pool = [Process(1), Process(2), Process(3), Process(4)]
    died: list[int] = []
    watch = ChildWatch(lambda: pool, lambda pid, reason: died.append(pid))
    assert (watch.name, watch.daemon) == ("child-watch", True)
    watch.start()
    pool[0].exitcode = 0
    until(lambda: died == [1], within_s=10)
    pool[2].exitcode = 15  # of a process that Celery has sent SIGTERM
    until(lambda: died == [1, 3], within_s=10)
    pool[3].exitcode = -15  # of one that was not ready for it
    until(lambda: died == [1, 3, 4], within_s=10)
    pool[1].exitcode = -11
    until(lambda: died == [1, 3, 4, 2], within_s=10)
    watch.close()
    watch.join(10)
    assert not watch.is_alive()
    assert caplog.messages == ["working process 2: its process was killed by SIGSEGV"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-9, "its process was killed by SIGKILL (out of memory?)"),
        (
            -7,
            "its process was killed by SIGBUS (a mapped file was truncated, or its disk failed: jdq store verify)",
        ),
        (-11, "its process was killed by SIGSEGV"),
        (-99, "its process was killed by signal 99"),
        (3, "its process ended with exit code 3"),
    ],
)
def test_an_exit_code_is_put_into_words(code: int, reason: str) -> None:
    assert reason_of(code) == reason


def in_place(test: SelfTest, code: str, *arguments: str) -> SelfTest:
    test._command = [sys.executable, "-c", code, *arguments]
    return test


def test_a_self_test_says_what_is_wrong() -> None:
    assert SelfTest("cpu").wait() == ""
    assert SelfTest("cuda:99").wait().startswith("self-test: cuda:99 does not compute: ")
    assert in_place(SelfTest("cpu"), "import os; os.kill(os.getpid(), 9)").wait() == "self-test: exit code -9"
    assert in_place(SelfTest("cpu"), "raise SystemExit('jdq: broken')").wait() == "self-test: broken"
    hanging = in_place(SelfTest("cpu", timeout_s=0.3), "import time; time.sleep(60)")
    assert hanging.wait() == "the self-test of the device did not end within 0.3 s"


@contextmanager
def something_to_read() -> Iterator[None]:
    """On this process's standard input."""
    source, target = os.pipe()
    os.write(target, b"noise")
    os.close(target)
    before = os.dup(0)
    os.dup2(source, 0)
    yield
    os.dup2(before, 0)
    for descriptor in (source, before):
        os.close(descriptor)


def test_a_self_test_is_a_process_of_its_own_that_nobody_waits_for(capfd: pytest.CaptureFixture[str]) -> None:
    test = SelfTest("cuda:1")
    assert test._command == [sys.executable, "-m", "jdq.worker.programs.self_test", "cuda:1"]
    in_place(test, "import sys; print('noise'); sys.exit(len(sys.stdin.read()))")
    assert (test.runs, test.finding()) == (False, None)
    with something_to_read():
        test.begin()
    assert test.runs
    assert until(lambda: [found] if (found := test.finding()) is not None else None) == [""]
    assert (test.runs, capfd.readouterr().out) == (False, "")


def test_a_self_test_that_hangs_is_killed() -> None:
    test = in_place(SelfTest("cpu", timeout_s=0.2), "import time; time.sleep(60)")
    test.begin()
    process = test._process
    assert process
    until(test.finding)
    assert process.returncode == -signal.SIGKILL
    assert not test.runs


def test_a_quarantined_worker_is_tested_until_it_recovers_and_a_sound_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(self_test, "FIRST_PAUSE_S", 0.05)
    test = in_place(SelfTest("cpu"), "raise SystemExit('broken')")
    recovered: list[bool] = []

    def recover(answer: bool = True) -> bool:
        recovered.append(answer)
        return answer

    recovery = Recovery(test, recover)
    recovery.step(False)
    assert not test.runs
    began: list[bool] = []

    def failed_twice() -> bool:
        recovery.step(True)
        began.append(test.runs)
        return sum(a < b for a, b in pairwise(began)) >= 2

    until(failed_twice)
    assert not recovered
    in_place(test, "")
    until(lambda: stepped(recovery, recovered))


def stepped(recovery: Recovery, answers: list[bool]) -> bool:
    recovery.step(True)
    return True in answers


def test_a_worker_that_cannot_recover_yet_is_tested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "FIRST_PAUSE_S", 0.01)
    answers: list[bool] = []

    def recover() -> bool:
        answers.append(bool(answers))
        return answers[-1]

    recovery = Recovery(in_place(SelfTest("cpu"), ""), recover)
    until(lambda: stepped(recovery, answers))
    assert answers == [False, True]


BROKEN_HEARTBEAT = """
import signal, sys, time
from jdq.worker.config import read_config
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.worker_heartbeat import WorkerHeartbeat

heartbeat = WorkerHeartbeat(Runtime(read_config(), worker="w", queue="cpu"), device="cpu")
heartbeat._run = lambda: 1 / 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
heartbeat.start()
time.sleep(30)
"""


def test_a_worker_whose_heartbeat_thread_breaks_ends() -> None:
    environment = os.environ | {"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": "redis+socket:///nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", BROKEN_HEARTBEAT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (7, -signal.SIGTERM)
    assert "the worker heartbeat ended" in done.stderr


class Device:
    """A self-test that answers immediately, and a clock."""

    def __init__(self) -> None:
        self.runs = False
        self.now = 1000.0
        self.answer = "self-test: broken"
        self.began: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def begin(self) -> None:
        self.began.append(self.now)

    def finding(self) -> str:
        return self.answer

    def pauses(self, recovery: Recovery, seconds: int) -> list[float]:
        """Between the tests of a worker that is sick for so long."""
        self.began.clear()
        for _ in range(seconds):
            recovery.step(True)
            self.now += 1
        return [after - before for before, after in pairwise(self.began)]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr(self_test, "time", device)
    return device


def test_a_broken_device_is_tested_at_intervals_that_double_up_to_ten_minutes(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    recovery = Recovery(device, lambda: True)  # type: ignore[arg-type]
    assert device.pauses(recovery, 2500) == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert caplog.messages[:2] == ["self-test: broken; tested again in 10 s", "self-test: broken; tested again in 20 s"]


def test_a_device_that_relapses_soon_is_tested_later_each_time_and_after_a_sound_time_is_trusted_again(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.answer = ""
    answers: list[bool] = []
    recovery = Recovery(device, lambda: answers.append(True) or True)  # type: ignore[arg-type, func-returns-value]
    assert device.pauses(recovery, 75) == [10, 20, 40]
    assert len(answers) == 4
    assert set(caplog.messages) == {"the device passed its self-test; this worker takes work again"}
    device.now += 80 + 601
    assert device.pauses(recovery, 35) == [10, 20]


def test_a_worker_that_is_not_sick_is_not_tested(device: Device) -> None:
    recovery = Recovery(device, lambda: True)  # type: ignore[arg-type]
    recovery.step(False)
    assert device.began == []
    device.runs = True  # a test that began while it was sick
    recovery.step(False)
    assert device.began == []
