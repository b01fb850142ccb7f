"""A fork while other threads read and write: the child reads, too."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jdq.store.fork_lock import fork_lock
from jdq.store.spaces.feature_space import Space
from tests.conftest import PROJECT
from tests.faults.forked import fork
from tests.store.fake_datasets import write_store
from tests.store.fake_features import fake_features, put_texts, sentences

FORKS = 5


def test_a_child_that_is_forked_while_threads_work_reads(tmp_path: Path) -> None:
    """In a process of its own: pytest's has threads of other packages, which a fork may leave locked."""
    command = [sys.executable, "-m", "tests.faults.test_forks", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def fork_while_threads_work(tmp_path: Path) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(300), chunk=60)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            Space(space.path).read(version.keys())
            version.texts()
            space.missing(version.keys())
            time.sleep(0.005)

    def write() -> None:
        for number in range(10):
            put_texts(space, sentences(1, 10_000 + number))

    def read_all(acknowledge: Callable[[int], None]) -> None:
        np.testing.assert_array_equal(space.read(version.keys()), fake_features(sentences(300)))
        assert version.texts() == sentences(300)

    threads = [threading.Thread(target=work) for work in (read, write)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(FORKS):
            child = fork(read_all)
            child.join()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_child_of_a_fork_finds_no_lock_held_by_a_thread_that_it_does_not_have() -> None:
    lock, entered = fork_lock(), threading.Event()

    def hold() -> None:
        with lock:
            entered.set()
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()

    def take(acknowledge: Callable[[int], None]) -> None:
        signal.alarm(10)
        with lock:
            acknowledge(1)

    assert fork(take).join() == [1]
    thread.join()


if __name__ == "__main__":
    fork_while_threads_work(Path(sys.argv[1]))
