"""The self-test of a worker's device, in a separate process because it may hang or crash."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

TIMEOUT_S = 120.0
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 600.0


class SelfTest:
    """Tests a device on request, each time in a new process and without waiting for it."""

    def __init__(self, device: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._command = [sys.executable, "-m", "jdq.worker.programs.self_test", device]
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0

    @property
    def runs(self) -> bool:
        """Whether a test has begun whose finding has not been read."""
        return self._process is not None

    def begin(self) -> None:
        """Starts a test."""
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def finding(self) -> str | None:
        """What is wrong with the device, '' if nothing is; None while the test runs."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            if time.monotonic() - self._began < self._timeout_s:
                return None
            process.kill()
            process.communicate()
            self._process = None
            return f"the self-test of the device did not end within {self._timeout_s:g} s"
        _, errors = process.communicate()
        self._process = None
        if process.returncode == 0:
            return ""
        lines = errors.strip().splitlines() or [f"exit code {process.returncode}"]
        return "self-test: " + lines[-1].removeprefix("jdq: ")

    def wait(self) -> str:
        """Runs a test, and returns its finding."""
        self.begin()
        while (finding := self.finding()) is None:
            time.sleep(0.05)
        return finding


class Recovery:
    """Brings a quarantined worker back: tests its device, at intervals that double after failures and relapses."""

    def __init__(self, test: SelfTest, recover: Callable[[], bool]) -> None:
        """recover: puts the worker into service again; False if it is not possible yet."""
        self._test = test
        self._recover = recover
        self._pause_s = FIRST_PAUSE_S
        self._due = 0.0

    def step(self, sick: bool) -> None:
        """Continues the recovery; call it with every heartbeat."""
        if not self._test.runs:
            if not sick or time.monotonic() < self._due:
                return
            if time.monotonic() > self._due + LONGEST_PAUSE_S:
                self._pause_s = FIRST_PAUSE_S
            self._test.begin()
        finding = self._test.finding()
        if finding is None:
            return
        if finding == "" and self._recover():
            log.warning("the device passed its self-test; this worker takes work again")
        elif finding:
            log.error("%s; tested again in %g s", finding, self._pause_s)
        self._due = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
