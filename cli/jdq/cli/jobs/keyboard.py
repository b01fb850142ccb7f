"""Single keys from the terminal, without Enter."""

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Self

# What terminals send for the keys that have no character.
_NAMES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b": "escape",
}


class Keyboard:
    """A context manager that restores the terminal's settings. Ctrl-C still interrupts."""

    def __enter__(self) -> Self:
        self._input = sys.stdin.fileno()
        self._settings: list[Any] = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._settings)

    def read(self, *, timeout_s: float) -> str | None:
        """A character or the name of a key; None if none was pressed in time."""
        if not select.select([self._input], [], [], timeout_s)[0]:
            return None
        pressed = os.read(self._input, 16).decode(errors="replace")
        return _NAMES.get(pressed, pressed[:1])
