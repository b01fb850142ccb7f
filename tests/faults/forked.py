"""Child processes that start within a millisecond, so that two hundred of them can be killed in a test."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Child:
    """A forked process; what it said so far is lost on no kill, for it goes through a pipe."""

    pid: int
    pipe: int

    def kill(self) -> list[int]:
        """End it with SIGKILL; the numbers that it had acknowledged."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return self._said()

    def join(self) -> list[int]:
        """Wait for its end; the numbers that it acknowledged. AssertionError where it failed."""
        said = self._said()
        status = os.waitpid(self.pid, 0)[1]
        assert os.waitstatus_to_exitcode(status) == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
        return said

    def _said(self) -> list[int]:
        with os.fdopen(self.pipe, "rb") as pipe:
            return [int(line) for line in pipe.read().split(b"\n")[:-1]]


def fork(work: Callable[[Callable[[int], None]], None]) -> Child:
    """Run `work(acknowledge)` in a new process."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return Child(pid, read)
    code = 1
    try:
        work(lambda number: _say(write, number))
        code = 0
    except BaseException:  # noqa: BLE001 - a child must not return into pytest, whatever happened
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _say(pipe: int, number: int) -> None:
    os.write(pipe, b"%d\n" % number)
