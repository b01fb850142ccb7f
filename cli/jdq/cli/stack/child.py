"""A child process of the local stack: started, restarted when it exits, and ended with all its own children."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

from jdq.cli.stack.state import ProcessId, private_file

LONGEST_PAUSE_S = 30.0
# A process that ran for longer has started properly; after shorter runs the pause before the restart doubles.
STARTED_S = 5.0
UNKNOWN_EXIT = 256  # no process has this exit code


class Process(Protocol):
    """The part of `subprocess.Popen` that a child needs."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Adopted:
    """A process of a supervisor that has died. It is no child of this one, so its exit code stays unknown."""

    def __init__(self, known: ProcessId) -> None:
        self.pid = known.pid
        self._known = known

    def poll(self) -> int | None:
        """UNKNOWN_EXIT when it has ended, else None."""
        return None if self._known.process() else UNKNOWN_EXIT

    def terminate(self) -> None:
        """Sends SIGTERM."""
        with suppress(psutil.NoSuchProcess):
            if process := self._known.process():
                process.terminate()

    def wait(self, timeout: float | None = None) -> int:
        """UNKNOWN_EXIT when it has ended; raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(0.05)
        return UNKNOWN_EXIT


class Child:
    """A process that is restarted when it exits. umask: of the files that it creates; -1: as this process's."""

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
        self.process: Process | None = None
        self.id: ProcessId | None = None

    def adopt(self, known: ProcessId) -> None:
        """Takes over a process that another supervisor started."""
        self.process, self.id = Adopted(known), known
        self._began = time.monotonic()

    def start(self) -> None:
        """Starts the process in a session of its own, so that it can be killed with all its children."""
        with open(self.log, "ab", opener=private_file) as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                umask=self._umask,
                start_new_session=True,
            )
        self.id = ProcessId.of(self.process.pid)
        self._began = time.monotonic()

    @property
    def exited(self) -> bool:
        """True when the process has ended."""
        return self.process is None or self.process.poll() is not None

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
        if self.process and not self.exited:
            self.process.terminate()

    def end(self, deadline: float) -> None:
        """Waits for the process until the deadline, then kills it and its children."""
        if self.process:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(max(0.1, deadline - time.monotonic()))
            self.end_group()
            self.process.wait()

    @property
    def exit_text(self) -> str:
        """That the process ended, and how, in words."""
        code = self.process.poll() if self.process else None
        if code is None or code == UNKNOWN_EXIT:
            return f"the worker {self.name} ended"
        return f"the worker {self.name} ended: " + (signal.Signals(-code).name if code < 0 else f"exit code {code}")

    def end_group(self) -> None:
        """Kills what is left of the process's session: an orphaned child would run beside its successor."""
        if self.process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def last_lines(self, count: int = 12) -> str:
        """The last lines of the log, for a message."""
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(f"    {line}" for line in lines[-count:])
        return ""
