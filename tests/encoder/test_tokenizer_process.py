"""A tokenizer in processes of its own gives the same tokens, and ends with the process that uses it."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from jdq.worker.encoder import loading, tokenizer_process
from jdq.worker.encoder.budget import TokenBudget
from jdq.worker.encoder.tokenizer_process import in_processes
from jdq.worker.encoder.tokens import TextTokenizer, Tokens, load_tokenizer
from tests.encoder.test_tokens import TEXTS, Words
from tests.waiting import until

NAME = tokenizer_process.__name__
START = (
    "import sys; from pathlib import Path; from jdq.worker.encoder.tokens import load_tokenizer;"
    "from jdq.worker.encoder.tokenizer_process import in_processes;"
    "moved = in_processes(load_tokenizer(Path(sys.argv[1])));"
    "moved.tokenize(['a'], 9); moved.tokenize(['a'], 9); print(flush=True); input()"
)


@pytest.fixture(autouse=True)
def three_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine with two cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(5))


def tokenizers(parent: psutil.Process) -> list[psutil.Process]:
    return [child for child in parent.children() if child.status() != "zombie" and NAME in child.cmdline()]


def same(ours: Tokens, theirs: Tokens) -> bool:
    pairs = [(getattr(ours, name), getattr(theirs, name)) for name in ("ids", "lengths", "n_tokens", "n_unknown")]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_tokens_are_those_of_this_process_also_of_several_threads_at_a_time(tiny: Path) -> None:
    here = load_tokenizer(tiny)
    moved = in_processes(here)
    parts = [TEXTS, [], *([f"text {n}"] * n for n in range(20))]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda texts: moved.tokenize(texts, 100), parts))
    assert all(map(same, found, [here.tokenize(texts, 100) for texts in parts]))


def test_the_processes_stay_and_share_the_cores(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(14))
    moved = in_processes(load_tokenizer(tiny))
    started = tokenizers(psutil.Process())
    for _ in range(2):
        moved.tokenize(TEXTS, 9)
    assert tokenizers(psutil.Process()) == started
    assert [process.environ()["RAYON_NUM_THREADS"] for process in started] == ["3"] * 4


def test_a_process_that_ends_is_an_error_and_replaced(tiny: Path) -> None:
    here = load_tokenizer(tiny)
    moved = in_processes(here)
    found = tokenizers(psutil.Process())
    assert len(found) == 3
    found[-1].kill()
    with pytest.raises(ChildProcessError, match=r"^a tokenizer's process ended$"):
        moved.tokenize(["a"], 9)
    assert same(moved.tokenize(TEXTS, 9), here.tokenize(TEXTS, 9))
    assert len(tokenizers(psutil.Process())) == 3


def test_an_answer_that_was_not_taken_is_not_the_next_one(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load_tokenizer(tiny)
    moved = in_processes(here)
    send = tokenizer_process.Process.send

    def interrupted(process: tokenizer_process.Process, texts: list[str]) -> None:
        send(process, texts)
        raise MemoryError

    monkeypatch.setattr(tokenizer_process.Process, "send", interrupted)
    with pytest.raises(MemoryError):
        moved.tokenize(["b"], 9)
    monkeypatch.setattr(tokenizer_process.Process, "send", send)
    assert same(moved.tokenize(TEXTS, 9), here.tokenize(TEXTS, 9))


def test_the_processes_end_with_the_tokenizer(tiny: Path) -> None:
    moved = in_processes(load_tokenizer(tiny))
    assert tokenizers(psutil.Process())
    del moved
    assert not tokenizers(psutil.Process())


def test_the_processes_outlive_a_signal_to_the_group_and_end_with_a_killed_worker(tiny: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", START, tiny], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        parent.stdout.readline()
        found = tokenizers(psutil.Process(parent.pid))
        for number in (signal.SIGTERM, signal.SIGINT):
            for process in found:
                process.send_signal(number)
        niceness = min(19, os.nice(0) + tokenizer_process.NICENESS)
        assert [process.nice() for process in found] == [niceness] * len(found) != []
        parent.kill()
        until(lambda: not any(process.is_running() for process in found))


def test_a_tokenizer_in_python_stays() -> None:
    slow = TextTokenizer(Words())
    assert in_processes(slow) is slow
    assert not tokenizers(psutil.Process())


@pytest.mark.parametrize(("device", "count"), [("cpu", 0), ("cuda:1", 3)])
def test_an_encoder_on_a_gpu_tokenizes_in_processes(
    device: str, count: int, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "check_device", lambda files, device: None)
    monkeypatch.setattr(loading, "_network", lambda files, device, precision: None)
    monkeypatch.setattr(TokenBudget, "for_device", lambda device, **sizes: None)
    intervals: list[float] = []
    monkeypatch.setattr(sys, "setswitchinterval", intervals.append)
    encoder = loading.load_encoder(str(tiny), device=device)
    assert len(tokenizers(psutil.Process())) == count
    assert intervals == [loading.SWITCH_S] * bool(count)
    assert same(encoder.tokenize(TEXTS), load_tokenizer(tiny).tokenize(TEXTS, 1024))


@pytest.mark.parametrize(("cores", "processes", "threads"), [(1, 1, 1), (2, 1, 1), (5, 3, 1), (18, 4, 4)])
def test_two_cores_are_left_for_the_worker(
    cores: int, processes: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(cores))
    assert tokenizer_process.count() == processes
    assert tokenizer_process.environment()["RAYON_NUM_THREADS"] == str(threads)
    monkeypatch.setenv("RAYON_NUM_THREADS", "3")
    assert tokenizer_process.environment()["RAYON_NUM_THREADS"] == "3"
