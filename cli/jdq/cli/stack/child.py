"""A child process of the local stack: started, restarted when it exits, and ended with all its own children."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from jdq.cli.stack.state import ProcessId, private_file

LONGEST_PAUSE_S = 30.0
# A process that ran for longer had started properly; after shorter runs the pause before the restart doubles.
STARTED_S = 5.0


class Child:
    """A process that is restarted when it exits. umask: for the files that it creates; -1: this process's."""

    def __init__(
        self, name: str, command: list[str], log: Path, environment: dict[str, str], *, umask: int = -1
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._umask = umask
        self._pause_s = 1.0
        self._start_at = 0.0
        self._began = 0.0
        self._started: subprocess.Popen[bytes] | None = None
        self.id: ProcessId | None = None

    def adopt(self, known: ProcessId) -> None:
        """Takes over a process that another supervisor started; its exit code stays unknown."""
        self.id, self._began = known, time.monotonic()

    def start(self) -> None:
        """Starts the process in a new session, so that it can be killed with all its children."""
        with open(self.log, "ab", opener=private_file) as log:
            self._started = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                umask=self._umask,
                start_new_session=True,
            )
        self.id = ProcessId.of(self._started.pid)
        self._began = time.monotonic()

    @property
    def exited(self) -> bool:
        """True when the process has ended; one that this process started, only once its exit code is known.

        A killed process looks ended a little earlier, while some of its threads still end.
        """
        return self._process is None if self._started is None else self._started.poll() is not None

    @property
    def _process(self) -> psutil.Process | None:
        return self.id.process() if self.id else None

    def restart_when_due(self) -> bool:
        """Restarts an exited process, after a pause that doubles while it keeps exiting; True when restarted."""
        now = time.monotonic()
        if not self._start_at:
            started = now - self._began > STARTED_S
            self._pause_s = 1.0 if started else min(self._pause_s * 2, LONGEST_PAUSE_S)
            self.end_group()
            self._start_at = now + self._pause_s
        if now < self._start_at:
            return False
        self._start_at = 0.0
        self.start()
        return True

    def terminate(self) -> None:
        """Sends SIGTERM to the process."""
        with suppress(psutil.NoSuchProcess):
            if process := self._process:
                process.terminate()

    def end(self, deadline: float) -> None:
        """Waits for the process until the deadline, then kills it and its children."""
        self._wait(max(0.1, deadline - time.monotonic()))
        self.end_group()
        self._wait(None)

    def _wait(self, timeout_s: float | None) -> None:
        if self._started:
            with suppress(subprocess.TimeoutExpired):
                self._started.wait(timeout_s)
        elif process := self._process:
            psutil.wait_procs([process], timeout=timeout_s)

    @property
    def exit_text(self) -> str:
        """That the process ended, and how, in words."""
        code = self._started.poll() if self._started else None
        if code is None:
            return f"the worker {self.name} ended"
        return f"the worker {self.name} ended: " + (signal.Signals(-code).name if code < 0 else f"exit code {code}")

    def end_group(self) -> None:
        """Kills what is left of the process's session, because an orphaned child would run beside its successor."""
        if self.id:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.id.pid, signal.SIGKILL)

    def last_lines(self, count: int = 12) -> str:
        """The last lines of the log, for a message."""
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(f"    {line}" for line in lines[-count:])
        return ""
