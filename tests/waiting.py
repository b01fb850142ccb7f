"""Waiting for what another process or thread does: until it is seen, never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: Callable[[], T | None], *, within_s: float = 60.0, why: str = "") -> T:
    """What `what` returns as soon as that is true; fails after `within_s` seconds, saying `why` and the last value."""
    began = time.monotonic()
    while not (found := what()):
        waited = time.monotonic() - began
        assert waited < within_s, f"not within {within_s:g} s: {why or 'it became true'} (last: {found!r})"
        time.sleep(min(0.5, max(0.005, waited / 10)))  # a tenth of the wait is lost at most
    return found
