"""The supervisor's state on disk: how `up` and `down` know what is running."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import psutil


class ProcessId(msgspec.Struct, frozen=True):
    """A process by its pid and start time, because the pid may be reused."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The running process with this pid."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process; None once it has ended."""
        try:
            process = psutil.Process(self.pid)
            alive = process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


class StackState(msgspec.Struct, frozen=True, kw_only=True):
    """The stack as its supervisor sees it."""

    phase: Literal["starting", "ready", "failed"]
    message: str = ""
    gpu_workers: int
    cpu_workers: int
    supervisor: ProcessId
    children: dict[str, ProcessId] = {}


def make_private(folder: Path) -> None:
    """Creates the folder unless it exists, only for this user: job specifications and logs name files and texts."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def private_file(path: str, flags: int) -> int:
    """An opener for `open`: what it creates is for this user only."""
    return os.open(path, flags, 0o600)


def read_state(run_folder: Path) -> StackState | None:
    """What the last supervisor wrote; None if the file does not exist or is unreadable."""
    try:
        return msgspec.json.decode((run_folder / "stack.json").read_bytes(), type=StackState)
    except (OSError, msgspec.MsgspecError):
        return None


def living(state: StackState | None) -> dict[str, ProcessId]:
    """The children of that state that still run."""
    return {name: known for name, known in (state.children if state else {}).items() if known.process()}


def write_state(run_folder: Path, state: StackState) -> None:
    """Replaces the file atomically, so that no reader sees half of it."""
    partial = run_folder / f".stack.json.{os.getpid()}"
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(run_folder / "stack.json")


class Locked(Exception):
    """Another supervisor holds the lock."""


@contextmanager
def stack_lock(run_folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Holds the supervisor's lock, which the kernel releases when the process ends. Raises Locked."""
    deadline = time.monotonic() + wait_s
    with open(run_folder / "lock", "w", opener=private_file) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Locked from None
                time.sleep(0.02)
        yield


@contextmanager
def one_at_a_time(run_folder: Path) -> Iterator[None]:
    """Holds a lock while a command starts the supervisor; waits for another command that is already doing so."""
    with open(run_folder / "up.lock", "w", opener=private_file) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(run_folder: Path) -> bool:
    """True while a supervisor is running."""
    try:
        with stack_lock(run_folder):
            return False
    except Locked:
        return True
    except FileNotFoundError:
        return False
