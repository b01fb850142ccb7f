"""`jdq predict`, `evaluate` and `report`: the same on this machine and, where the packages are missing, on workers."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from typing import Any

import pytest

from jdq.cli.trained.predict import MOST_LINES, lines_of
from jdq.store.trained import Heads
from jdq.worker.heads.files import load_head
from jdq.worker.queue.contract import PROTOCOL, Classify, JobState
from tests.cli.conftest import TABLE, CommandLine
from tests.jobs.conftest import Workplace

MISSING = ["torch", "transformers"]
BROKEN = "is not a complete safetensors file: Error while deserializing: header too small"


def only_workers_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("programs", "short_jobs"):
        monkeypatch.setattr(f"jdq.cli.{module}.missing_packages", lambda *names: MISSING)


def work(workplace: Workplace, stop: threading.Event) -> None:
    """Takes the jobs as they come, as workers of both queues do."""
    jobbook = workplace.jobbook
    while not stop.wait(0.02):
        for job in jobbook.open_jobs():
            workplace.work_on(job.id, job.queue)  # type: ignore[arg-type]


@pytest.fixture(params=["here", "workers"])
def head(jdq: CommandLine, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head, with which this machine computes, or only its workers."""
    jdq.extracted()
    trained = jdq.trained("--head", "logreg")
    if request.param == "here":
        yield trained
        return
    if request.param == "workers":
        only_workers_compute(monkeypatch)
    else:
        monkeypatch.setenv("JDQ_WORKER_FOLDERS", "/models")
    worker = {"queue": "cpu", "version": version("jdq"), "protocol": PROTOCOL}
    jdq.workplace.runtime("cpu").ledger.heartbeat(worker)
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(jdq.workplace, stop))
    thread.start()
    yield trained
    stop.set()
    thread.join()


def test_a_text_is_classified_as_a_row_of_a_table(jdq: CommandLine, head: str) -> None:
    answer = jdq.json("predict", "text number 4 of a", "--head", head)
    probabilities = answer["probabilities"]
    assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
    assert answer["label"] == next(iter(probabilities))
    assert answer["warnings"] == []
    store = jdq.workplace.store
    of_row = load_head(Heads(store.root).path(head))
    [dataset] = store.datasets.list()
    features = store.open_space(of_row.record.origin.space).rows(dataset.keys())[[4]]
    expected = dict(zip(of_row.classes, of_row.predict_proba(features)[0].tolist(), strict=True))
    assert probabilities == pytest.approx(expected, abs=1e-4)
    lines = jdq.run("predict", "text number 4 of a", "--head", head).stdout.splitlines()
    assert lines == [f"{value:.3f}  {name}" for name, value in probabilities.items()]


def test_a_text_is_classified_with_its_set(jdq: CommandLine, head: str) -> None:
    levels = ("--sets", "0.99", "--abstain-at", "0.99")
    answer = jdq.json("predict", "text number 4 of a", "--head", head, *levels)
    assert answer["set"] == [name for name in answer["probabilities"] if name in answer["set"]]
    found = jdq.run("predict", "text number 4 of a", "--head", head, *levels)
    assert [line.split()[1] for line in found.stdout.splitlines()] == answer["set"]
    assert answer["label"] is None
    assert found.stderr == "warning: too uncertain for a label\n"


def test_an_empty_text_has_a_warning_only(jdq: CommandLine, head: str) -> None:
    found = jdq.run("predict", " ", "--head", head)
    assert (found.stdout, found.stderr) == ("", "warning: the text is empty\n")


def test_a_head_is_measured_on_a_labelled_file(jdq: CommandLine, head: str) -> None:
    found = jdq.run("evaluate", jdq.file(TABLE + "another one,c\n", "new.csv"), "--head", head)
    lines = found.stdout.splitlines()
    assert lines[0].startswith(f"{head} on 41 rows of evaluate-new ")
    assert [line.split()[0] for line in lines[1:6]] == ["metric", "accuracy", "precision", "recall", "f1"]
    assert "1 rows have labels unknown to it: c" in found.stderr
    assert "right labels in the sets (promised 0.9)" in found.stdout
    assert "labels per set: " in found.stdout
    certain = jdq.json("evaluate", "table", "--head", head, "--abstain-at", "0.7", "--sets", "0.8")["certain"]
    assert (certain["abstain_at"], certain["sets"]) == (0.7, 0.8)
    measured = jdq.json("evaluate", "table", "--head", head)
    assert (measured["dataset"], measured["rows"]) == ("table", 40)
    assert set(measured["intervals"]) >= {"accuracy", "macro_f1"}
    record = Heads(jdq.workplace.store.root).record(head)
    learnt = 40 - record["metrics"]["rows"]
    assert measured["notes"][0] == f"{learnt} of 40 rows have texts from which it has learnt, so scores are too good"
    jdq.workplace.store.datasets.remove("table")
    unknown = jdq.run("evaluate", jdq.file(TABLE, "new.csv"), "--head", head)
    assert "it is not known whether it has learnt from these texts" in unknown.stderr


def test_a_head_is_measured_without_a_warning_on_new_texts(jdq: CommandLine, head: str) -> None:
    file = jdq.file("text,label\n" + "".join(f"unseen {n},{'ab'[n % 2]}\n" for n in range(8)), "new.csv")
    assert jdq.json("evaluate", file, "--head", head)["notes"] == []


def test_a_report_goes_into_a_file_or_to_stdout(jdq: CommandLine, head: str) -> None:
    file = jdq.workplace.folder / "page.html"
    assert jdq.run("report", "table", "-o", str(file)).stderr == f"{file}: {head}\n"
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert len(jdq.run("report", head, "-o", "-").stdout) == pytest.approx(len(page), rel=0.01)
    assert list((jdq.workplace.store.root / "runs").glob("[cer][!x]*-*")) == []  # classify, evaluate, report


@pytest.mark.parametrize("head", ["workers by their folders"], indirect=True)
def test_where_the_workers_see_other_folders_they_compute(jdq: CommandLine, head: str) -> None:
    assert jdq.json("predict", "a text", "--head", head)["label"] in "ab"
    assert next(iter(jdq.workplace.jobbook.jobs())).kind == "classify"


def test_here_they_need_no_redis(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    offline = CommandLine(jdq.workplace, {"JDQ_BROKER_URL": "redis://localhost:1/0"})
    assert offline.json("predict", "a text", "--head", head)["label"] in "ab"


def test_lines_are_answered_in_order(jdq: CommandLine) -> None:
    jdq.extracted()
    command = [sys.executable, "-m", "jdq.cli", "predict", "-", "--head", jdq.trained()]
    environment = os.environ | jdq.workplace.environment
    done = subprocess.run(
        command, input="text number 4 of a\n\nlast", env=environment, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["label"] in ("a", "b") for answer in answers] == [True, False, True]
    assert done.stderr.splitlines()[-1] == "warning: line 2: the text is empty"


def test_lines_come_as_soon_as_they_are_written_and_in_bounded_blocks() -> None:
    reading, writing = os.pipe()
    lines = lines_of(reading)
    os.write(writing, "eins\r\nzw\u00f6lf\ndr".encode())
    assert next(lines) == ["eins", "zw\u00f6lf"]
    os.write(writing, b"ei\xff\n\n")
    assert next(lines) == ["drei\ufffd", ""]
    os.write(writing, b"x\n" * (MOST_LINES + 1) + b"last")
    os.close(writing)
    rest = list(lines)
    assert max(map(len, rest)) <= MOST_LINES
    assert list(chain(*rest)) == ["x"] * (MOST_LINES + 1) + ["last"]
    os.close(reading)


def test_without_a_head_nothing_is_measured_or_imported(jdq: CommandLine) -> None:
    file = jdq.file()
    assert "give either --head or --model" in jdq.run("evaluate", file, code=2).stderr
    assert "try: jdq submit train-head" in jdq.run("evaluate", file, "--head", "none", code=4).stderr
    assert "no dataset 'nothing'" in jdq.run("report", "nothing", code=4).stderr
    assert jdq.workplace.store.datasets.names() == []


def test_a_model_is_work_of_the_gpu_queue() -> None:
    assert Classify(model="m").queues == ("gpu",)
    assert Classify(head="h").queues == ("cpu",)


def test_what_fails_here_ends_the_command_with_its_message(jdq: CommandLine) -> None:
    path = jdq.workplace.store.root / "heads" / "train-head-broken.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    command = [sys.executable, "-m", "jdq.cli", "predict", "x", "--head", "train-head-broken"]
    done = subprocess.run(
        command, env=os.environ | jdq.workplace.environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"jdq: {path} {BROKEN}\n")


@pytest.mark.parametrize("head", ["workers"], indirect=True)
def test_what_fails_on_a_worker_ends_the_command_with_its_message(jdq: CommandLine, head: str) -> None:
    path = Heads(jdq.workplace.store.root).path(head)
    path.write_bytes(b"nothing")
    assert jdq.run("predict", "x", "--head", head, code=1).stderr == f"jdq: {path} {BROKEN}\n"
    assert not list((jdq.workplace.store.root / "runs").glob("classify-*"))


def test_an_interrupted_command_cancels_its_job(jdq: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    jdq.extracted()
    head = jdq.trained()
    only_workers_compute(monkeypatch)

    def interrupt(_: float) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert jdq.run_to_any_end("predict", "x", "--head", head).exit_code == 130
    [job] = [job for job in jdq.workplace.jobbook.jobs() if job.kind == "classify"]
    assert job.state == JobState.CANCELLED
    assert not list((jdq.workplace.store.root / "runs").glob("classify-*"))


def test_without_packages_and_workers_elsewhere_the_error_says_what_to_install(
    jdq: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    jdq.extracted()
    head = jdq.trained()
    only_workers_compute(monkeypatch)
    embedded = CommandLine(jdq.workplace, {"JDQ_BROKER_URL": ""})
    error = embedded.run("predict", "x", "--head", head, code=2).stderr
    assert error == "jdq: this needs torch and transformers\n  try: pip install 'jdq[worker]'\n"
    assert not list((jdq.workplace.store.root / "runs").glob("classify-*"))
