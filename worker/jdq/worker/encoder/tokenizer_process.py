"""Tokenizers in separate processes, beside the one that starts forward passes on a GPU.

In one process, each call of a forward pass waits for Python's lock while the next chunk's words are looked up.
`benchmarks/pipeline.py --device cuda` compares the whole way to the store with passes only.
"""

import copy
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any
from weakref import finalize

import numpy as np

from jdq.worker.encoder.segments import FlatIds
from jdq.worker.encoder.tokens import FastTokenizer, TextTokenizer, with_special_tokens

MOST = 4  # processes; each tokenizes two million tokens per second, and a GPU takes up to six
NICENESS = 5  # the thread that starts forward passes goes first


def in_processes(tokenizer: TextTokenizer) -> TextTokenizer:
    """The same tokenizer, run by processes that end with it; unchanged if it is in Python."""
    if not tokenizer.is_fast:
        return tokenizer
    moved = copy.copy(tokenizer)
    moved.flat_ids = TokenizerProcesses(tokenizer.behaviour)
    return moved


class TokenizerProcesses:
    """Ids of texts, each process tokenizing a part of them. Thread-safe."""

    def __init__(self, definition: str) -> None:
        self._definition = definition
        self._lock = threading.Lock()
        self._processes = self._started()

    def __call__(self, texts: Sequence[str]) -> FlatIds:
        """Raises ChildProcessError if a process ended; others take the place of all."""
        with self._lock:
            bounds, answered = np.linspace(0, len(texts), len(self._processes) + 1).astype(int), False
            try:
                for process, (start, stop) in zip(self._processes, pairwise(bounds), strict=True):
                    process.send(texts[start:stop])
                answers = [process.connection.recv() for process in self._processes]
                answered = True
            except (EOFError, OSError) as error:
                raise ChildProcessError("a tokenizer's process ended") from error
            finally:
                if not answered:  # what is still to come would be taken for the ids of the next texts
                    self._processes = self._started()
        ids, n_tokens = zip(*answers, strict=True)
        return np.concatenate(ids), np.concatenate(n_tokens)

    def _started(self) -> "list[Process]":
        return [Process(self._definition) for _ in range(count())]


class Process:
    """One process. It ends when this object does, and when this process does, however that happens."""

    def __init__(self, definition: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "jdq.worker.encoder.tokenizer_process", str(theirs.fileno())]
            process = subprocess.Popen(command, env=environment(), pass_fds=[theirs.fileno()])
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        self.definition: str | None = definition  # it would keep this process waiting for the start of the other
        finalize(self, _end, self.connection, process)

    def send(self, texts: Sequence[str]) -> None:
        """Has the process tokenize the texts; `connection` then has their ids."""
        if self.definition is not None:
            self.connection.send(self.definition)
            self.definition = None
        self.connection.send(list(texts))


def count() -> int:
    """How many processes: two cores are left for the thread that starts forward passes, and the one that writes."""
    return max(1, min(MOST, len(os.sched_getaffinity(0)) - 2))


def environment() -> dict[str, str]:
    """Rust's threads, which compute the ids of new words, share those cores."""
    threads = max(1, (len(os.sched_getaffinity(0)) - 2) // count())
    return {"RAYON_NUM_THREADS": str(threads), **os.environ}


def _end(connection: "Connection[Any, Any]", process: "subprocess.Popen[bytes]") -> None:
    connection.close()
    process.wait()


def main() -> None:
    """Answers texts with their ids until the other end is closed; a signal to the group of processes is for that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with suppress(EOFError, ConnectionError), connection:
        flat_ids = with_special_tokens(FastTokenizer(connection.recv()))
        while True:
            connection.send(flat_ids(connection.recv()))


if __name__ == "__main__":
    main()
