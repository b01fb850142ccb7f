"""Fine-tunes, searches and predictions by real processes: killed, stopped, and end to end from the command line."""

import csv
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.conftest import JDQ, Stack, stack_in
from tests.waiting import until

WORDS = {"cook": "kitchen menu chef", "nurse": "patient ward clinic", "driver": "truck route delivery"}
ROWS = [(f"{i} we seek {WORDS[label]} </s> for us", label) for i in range(30) for label in WORDS]
FAST = ("--max-length", "32", "--batch-size", "8", "--lr", "2e-3")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    subprocess.run([JDQ, "model", "tiny", str(folder), "--dim", "32", "--layers", "1"], check=True)
    return str(folder)


@pytest.fixture(scope="module")
def trainers() -> Iterator[Stack]:
    """A stack with short leases; one thread per worker, because the network is tiny."""
    settings = {"JDQ_LEASE_S": "3", "JDQ_HEARTBEAT_S": "0.5", "JDQ_RECLAIM_S": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        stack = stack_in(folder, **settings)
        stack.run("up", "--cpu-workers", "2")
        yield stack
        stack.run("down")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "postings.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *ROWS])
    return file


def submitted(stack: Stack, *arguments: str) -> str:
    """The id that `jdq submit` printed: its whole standard output."""
    [job] = stack.run("submit", *arguments).stdout.split()
    return job


def until_step(stack: Stack, job: str, step: int) -> None:
    def reached() -> bool:
        status = stack.json("status", job)
        assert status["state"] in ("queued", "running"), f"it ended before step {step} was seen"
        return (status["steps_done"] or 0) >= step

    until(reached, why=f"step {step} is done")


def busy_gpu_workers(stack: Stack) -> set[int]:
    return {w["pid"] for w in stack.json("workers") if (w["queue"], w["state"]) == ("gpu", "busy")}


@pytest.mark.slow
def test_a_fine_tune_killed_at_a_step_goes_on_by_itself_and_ends_as_the_undisturbed_one(
    trainers: Stack, table: Path, tiny: str
) -> None:
    asked = ("fine-tune", str(table), "--encoder", tiny, "--epochs", "25", "--checkpoint-every", "0", *FAST)
    undisturbed = submitted(trainers, *asked, "--wait")
    job = submitted(trainers, *asked)
    killed: set[int] = set()
    for step in (6, 20):
        pid = until(lambda: busy_gpu_workers(trainers) - killed).pop()
        until_step(trainers, job, step)
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
        for process in (pid, *map(int, children.stdout.split())):
            os.kill(process, signal.SIGKILL)
        killed.add(pid)
    trainers.run("watch", job)
    status = trainers.json("status", job)
    assert status["state"] == "succeeded"
    reasons = [attempt["reason"] for attempt in status["attempts"]]
    assert len(reasons) == 2, reasons
    assert all("SIGKILL" in reason or "stopped sending heartbeats" in reason for reason in reasons), reasons
    expected, found = (trainers.json("result", name) for name in (undisturbed, job))
    assert found["resumed"] == 2
    assert abs(found["metrics"]["accuracy"] - expected["metrics"]["accuracy"]) <= 0.002
    assert found["steps"] == expected["steps"]


@pytest.mark.slow
def test_a_stopped_stack_saves_a_checkpoint_and_the_next_one_goes_on(table: Path, tiny: str) -> None:
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        stack = stack_in(folder, JDQ_HEARTBEAT_S="0.5", OMP_NUM_THREADS="1")
        stack.run("up")
        try:
            job = submitted(stack, "fine-tune", str(table), "--encoder", tiny, "--epochs", "60", *FAST)
            until_step(stack, job, 5)
            began = time.monotonic()
            stack.run("down")
            assert time.monotonic() - began < 15
            assert list((stack.home / "store" / "runs" / job).glob("checkpoints/*/checkpoint-*/jdq-seal.json"))
            stack.run("up")
            stack.run("watch", job)
            status = stack.json("status", job)
            assert status["state"] == "succeeded"
            assert stack.json("result", job)["resumed"] == 1
        finally:
            stack.run("down")


@pytest.mark.slow
def test_a_low_fine_tune_makes_room_for_another_owners_urgent_job_and_is_resumed(
    trainers: Stack, table: Path, tiny: str
) -> None:
    asked = ("fine-tune", str(table), "--encoder", tiny, *FAST)
    low = submitted(trainers, *asked, "--epochs", "60", "--priority", "low", "--time-limit", "1h")
    until_step(trainers, low, 5)
    other = Stack(trainers.home, {**trainers.settings, "JDQ_USER": "bob"})
    urgent = submitted(other, *asked, "--epochs", "1", "--priority", "high", "--wait")
    first = other.json("status", urgent)
    assert first["owner"] == "bob"
    assert first["started"] - first["created"] < 10
    trainers.run("watch", low)
    status = trainers.json("status", low)
    assert status["state"] == "succeeded"
    assert [attempt["reason"] for attempt in status["attempts"]] == ["it made room for an urgent job"]
    assert trainers.json("result", low)["resumed"] == 1


@pytest.mark.slow
def test_heads_fine_tunes_and_predictions_from_the_command_line(
    trainers: Stack, table: Path, tiny: str, tmp_path: Path
) -> None:
    stack = trainers
    stack.run("submit", "extract", str(table), "--encoder", tiny, "--max-length", "32", "--wait")
    head = submitted(stack, "train-head", "--search=4", "--head", "logreg", "--head", "linear-svm", "--wait")
    assert stack.json("status", head)["steps_done"] == 4
    assert "the best of 4 trials" in stack.run("result", head).stdout
    model = submitted(stack, "fine-tune", "postings", "--encoder", tiny, "--epochs", "1", "--priority", "high", *FAST)
    new = tmp_path / "new.csv"
    new.write_text('id,text\n007,"a menu, and a chef"\n008,a truck\n')
    for by, made in (("--head", head), ("--model", model)):
        out = tmp_path / f"{made}.csv"
        stack.run("submit", "predict", str(new), by, made, "--to", str(out))  # waits for the fine-tune by itself
        with out.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [(row["id"], row["text"]) for row in rows] == [("007", "a menu, and a chef"), ("008", "a truck")]
        assert {row["predicted_label"] for row in rows} <= set(WORDS)
    answer = json.loads(stack.run("predict", "a truck", "--model", model, "--json").stdout)
    assert answer["label"] == rows[1]["predicted_label"]
    compared = {line["id"]: line["comparable"] for line in stack.json("compare", "postings")["lines"]}
    assert compared[head] and compared[model]


def test_a_wrong_request_is_refused_at_once(trainers: Stack, table: Path, tmp_path: Path) -> None:
    run = trainers.run
    assert "or a number of layers" in run("submit", "fine-tune", str(table), "--freeze", "all", code=2).stderr
    assert "no such file" in run("submit", "fine-tune", "nothing.csv", code=2).stderr
    assert "--head or --model" in run("submit", "predict", str(table), code=2).stderr
    assert "jdq heads ls" in run("submit", "predict", str(table), "--head", "train-head-none", code=4).stderr
    assert "no job has the id" in run("submit", "fine-tune", str(table), "--after", "extract-none", code=4).stderr
    assert "--search=50" in run("submit", "train-head", "--search", "many", code=2).stderr
    assert "no head 'logrug'" in run("submit", "train-head", "--search", "--head", "logrug", code=2).stderr
    one = tmp_path / "one.csv"
    one.write_text("text,label,all\na,x,same\nb,y,same\n")
    assert "one class" in run("submit", "fine-tune", str(one), "--label-column", "all", code=2).stderr
