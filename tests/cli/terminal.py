"""A terminal for tests: what a program writes, as the emulator pyte shows it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import pyte


class Terminal:
    """A pseudo-terminal with a program in it; a context manager that ends the program."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, columns: int, rows: int = 30) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=there,
            stdout=there,
            stderr=there,
            env={**_without_size(os.environ), "TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(there)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._here)

    @property
    def lines(self) -> list[str]:
        """What the terminal shows, without the empty end of each line."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    def send(self, keys: str) -> None:
        """Types the keys."""
        os.write(self._here, keys.encode())

    def wait_for(self, text: str, *, seconds: float = 30) -> None:
        """Returns once the terminal shows the text; fails where the program ends or the time is over before."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"no {text!r} in:\n{self.text}")

    def wait_for_end(self, *, seconds: float = 30) -> int:
        """The program's exit code, with everything that it wrote shown."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(timeout=max(0.1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Shows what the program writes next; False at its end or where it writes nothing."""
        if not select.select([self._here], [], [], max(0.0, seconds))[0]:
            return False
        try:
            written = os.read(self._here, 65536)
        except OSError:  # the end, on Linux
            return False
        self._stream.feed(written)
        return bool(written)


def _without_size(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the size of the terminal that runs the tests, which would have priority over this one's."""
    return {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}


def shown(written: str, *, columns: int, rows: int = 200) -> list[str]:
    """What a terminal shows of this output, without the empty lines below it."""
    screen = pyte.Screen(columns, rows)
    pyte.Stream(screen).feed(written.replace("\n", "\r\n"))
    return "\n".join(line.rstrip() for line in screen.display).rstrip("\n").split("\n")
