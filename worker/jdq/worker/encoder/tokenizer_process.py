"""Tokenizers in separate processes, beside the one that starts forward passes on a GPU.

In one process, each call of a forward pass waits for Python's lock while the next chunk's ids become lists.
`benchmarks/pipeline.py --device cuda` compares the whole way to the store with passes only.
"""

import copy
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any
from weakref import finalize

from jdq.worker.encoder.segments import FlatIds
from jdq.worker.encoder.tokens import FastTokenizer, TextTokenizer, with_special_tokens

COUNT = 2  # as many chunks are prepared at the same time
NICENESS = 5  # the thread that starts forward passes goes first


def in_processes(tokenizer: TextTokenizer) -> TextTokenizer:
    """The same tokenizer, run by processes that end with it; unchanged if it is in Python."""
    if not tokenizer.is_fast:
        return tokenizer
    moved = copy.copy(tokenizer)
    moved.flat_ids = TokenizerProcesses(tokenizer.behaviour)
    return moved


class TokenizerProcesses:
    """Ids of texts, by whichever process is free. Thread-safe."""

    def __init__(self, definition: str) -> None:
        self._definition = definition
        self._free: SimpleQueue[Process] = SimpleQueue()
        for _ in range(COUNT):
            self._free.put(Process(definition))

    def __call__(self, texts: Sequence[str]) -> FlatIds:
        """Raises ChildProcessError if the process ended; another one takes its place."""
        process, answered = self._free.get(), False
        try:
            ids = process.flat_ids(texts)
            answered = True
            return ids
        except (EOFError, OSError) as error:
            raise ChildProcessError("the tokenizer's process ended") from error
        finally:  # one that did not answer would give this answer to the next texts
            self._free.put(process if answered else Process(self._definition))


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

    def flat_ids(self, texts: Sequence[str]) -> FlatIds:
        if self.definition is not None:
            self.connection.send(self.definition)
            self.definition = None
        self.connection.send(list(texts))
        ids: FlatIds = self.connection.recv()
        return ids


def environment() -> dict[str, str]:
    """All cores tokenize but two: for the thread that starts forward passes, and for the one that writes."""
    threads = max(1, (len(os.sched_getaffinity(0)) - 2) // COUNT)
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
