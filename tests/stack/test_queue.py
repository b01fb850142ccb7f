"""The queue with real processes: cancel, retry, stop, poison, priority, logs."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import redis

from tests.stack.conftest import Stack
from tests.waiting import until


@pytest.fixture
def running(rough_stack: Stack) -> Stack:
    """The stack with short leases and idle workers."""
    until(lambda: {w["state"] for w in rough_stack.json("workers") if w["state"] != "dead"} == {"idle"})
    return rough_stack


SLOW_TEXTS = 500


def submitted(stack: Stack, folder: Path, name: str, texts: list[str], *options: str) -> str:
    file = folder / f"{name}.csv"
    file.write_text("text,label\n" + "".join(f"{text},{'ab'[n % 2]}\n" for n, text in enumerate(texts)))
    return stack.run("submit", "extract", str(file), "--encoder", "hash:8", *options).stdout.strip()


def slow(stack: Stack, folder: Path, name: str = "slow", *options: str, texts: int = SLOW_TEXTS) -> str:
    """A job of some 10 s, of which a worker has taken the first chunk. Its texts are no other test's."""
    rows = [f"{folder.name} {name} {n} [slow]" for n in range(texts)]
    job = submitted(stack, folder, name, rows, *options)
    until(lambda: stack.json("status", job)["computed"] > 0)
    return job


def test_a_running_job_is_cancelled_within_seconds_and_what_is_done_is_reused(running: Stack, tmp_path: Path) -> None:
    job = slow(running, tmp_path)
    until(lambda: running.json("status", job)["chunks_done"] >= 3)
    running.run("cancel", job)
    assert running.json("status", job)["state"] == "cancelled"
    until(lambda: {w["state"] for w in running.json("workers")} == {"idle"}, within_s=5)
    before = running.json("status", job)["computed"]
    running.run("retry", job)
    running.run("watch", job)
    status = running.json("status", job)
    assert (status["state"], status["texts_done"]) == ("succeeded", SLOW_TEXTS)
    assert status["computed"] + status["reused"] == SLOW_TEXTS
    assert before > 0
    running.run("cancel", job, code=2)
    running.run("retry", job, code=2)


def test_a_worker_stopped_by_sigterm_hands_its_chunk_back_and_leaves_within_ten_seconds(
    running: Stack, tmp_path: Path
) -> None:
    job = slow(running, tmp_path)
    [worker] = [w for w in running.json("workers") if w["queue"] == "gpu"]
    process = psutil.Process(worker["pid"])
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    running.run("watch", job)
    status = running.json("status", job)
    assert (status["state"], status["texts_done"]) == ("succeeded", SLOW_TEXTS)
    assert {attempt["what"] for attempt in status["attempts"]} == {"drain"}


def test_a_text_that_kills_its_worker_is_named_and_all_others_are_stored(running: Stack, tmp_path: Path) -> None:
    texts = [f"good {n}" for n in range(20)]
    texts[12] = "a text that [kill]s"
    poison = submitted(running, tmp_path, "poison", texts)
    other = submitted(running, tmp_path, "other", [f"other {n}" for n in range(100)])
    assert "the text of row 13 of poison killed every process" in running.run("watch", poison, code=1).stderr
    attempts = running.json("status", poison)["attempts"]
    assert {attempt["what"] for attempt in attempts if "chunk" in attempt} == {"death", "error"}
    assert "killed by SIGKILL (out of memory?)" in attempts[0]["reason"]
    running.run("watch", other)
    skipping = submitted(running, tmp_path, "poison", texts, "--on-error", "skip")
    running.run("watch", skipping)
    assert running.json("result", skipping)["skipped"] == 1
    assert running.json("status", skipping)["reused"] == 19
    failed = running.run("failed").stdout
    assert poison in failed
    assert other not in failed


def test_an_urgent_job_overtakes_within_a_chunk(running: Stack, tmp_path: Path) -> None:
    low = slow(running, tmp_path, "low", "--priority", "low", texts=3 * SLOW_TEXTS)
    urgent = submitted(running, tmp_path, "urgent", [f"urgent {n} [slow]" for n in range(50)], "--priority", "high")
    running.run("watch", urgent)
    assert running.json("status", low)["state"] == "running"
    running.run("cancel", low)


def test_the_log_lines_of_a_job_name_worker_job_and_chunk(running: Stack, tmp_path: Path) -> None:
    job = submitted(running, tmp_path, "lines", [f"line {n}" for n in range(10)])
    lines = running.run("logs", "-f", job).stdout.splitlines()
    assert any("cpu-" in line and f"{job}/0" in line for line in lines)
    assert any("gpu-1@" in line and f"{job}/1" in line and "committed (last)" in line for line in lines)


def test_a_paused_worker_that_lost_its_chunk_ends_nothing(running: Stack, tmp_path: Path) -> None:
    job = slow(running, tmp_path)
    [worker] = [w for w in running.json("workers") if w["queue"] == "gpu"]
    processes = [psutil.Process(worker["pid"]), *psutil.Process(worker["pid"]).children(recursive=True)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    until(lambda: any(a["what"] == "expired" for a in running.json("status", job)["attempts"]), within_s=20)
    for process in processes:
        os.kill(process.pid, signal.SIGCONT)
    running.run("watch", job)
    status = running.json("status", job)
    assert (status["state"], status["texts_done"]) == ("succeeded", SLOW_TEXTS)
    assert running.run("logs", job).stdout.count("committed (last)") == 1


def test_what_is_no_message_ends_no_worker(running: Stack, tmp_path: Path) -> None:
    before = {worker["name"]: worker["pid"] for worker in running.json("workers")}
    client = redis.Redis(unix_socket_path=(running.home / "run" / "socket").read_text())
    for garbage in (b"\xff\xfe", "no JSON", "[1]", "{}", '{"properties": 7}', '{"properties": {}, "body": 3}'):
        client.lpush("cpu", garbage)
        client.lpush("gpu", garbage)
    job = submitted(running, tmp_path, "after", [f"after {n}" for n in range(10)])
    running.run("watch", job)
    assert {worker["name"]: worker["pid"] for worker in running.json("workers")} == before
