"""`jdq submit auto`: its jobs, its forecast, and the fine-tune that it starts only where it was told to."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jdq.cli.client import Client
from jdq.cli.submit.auto import best_of
from jdq.store.trained import Models
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.queue.contract import Extract, FineTune, TrainHead
from tests.cli.conftest import TABLE, CommandLine
from tests.cli.test_short_jobs import work

WORDS = {"a": "kitchen menu chef", "b": "patient ward clinic"}


def table(wrong_every: int) -> str:
    """Labels that follow from the words, but for one in so many."""
    rows = [(n, "ab"[n % 2], "ab"[(n + (n // 2 % wrong_every == wrong_every - 1)) % 2]) for n in range(360)]
    return "text,label\n" + "".join(f"{n} {WORDS[kind]},{label}\n" for n, kind, label in rows)


@pytest.fixture
def workers(jdq: CommandLine) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(jdq.workplace, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


def test_the_features_are_computed_and_the_head_waits_for_them(jdq: CommandLine) -> None:
    head = jdq.submit("auto", jdq.file(), "--encoder", "hash:16", "--priority", "low")
    status = jdq.json("status", head)
    [extraction] = status["waits_for"]
    first = jdq.workplace.jobbook.job(extraction)
    assert isinstance(first.spec, Extract) and first.spec.encoder == "hash:16"
    assert first.priority == jdq.workplace.jobbook.job(head).priority
    assert status["spec"]["options"]["head"] == "auto" and status["spec"]["forecast"] is True
    assert jdq.workplace.worked(extraction).state == "succeeded"
    assert jdq.workplace.worked(head).state == "succeeded"
    again = jdq.submit("auto", "table", "--encoder", "hash:16")
    assert jdq.workplace.jobbook.job(again).spec == jdq.workplace.jobbook.job(head).spec


def test_a_table_without_labels_is_refused_before_any_job(jdq: CommandLine) -> None:
    found = jdq.run("submit", "auto", jdq.file("text\none\ntwo\n"), "--encoder", "hash:16", code=2)
    assert "label" in found.stderr and list(jdq.workplace.jobbook.jobs()) == []


@pytest.mark.parametrize(("pays", "encoder"), [(True, "hash:16"), (True, None), (False, "hash:16"), (None, "hash:16")])
def test_a_fine_tune_starts_only_if_it_was_asked_for_and_could_pay(
    jdq: CommandLine, capsys: pytest.CaptureFixture[str], pays: bool | None, encoder: str | None
) -> None:
    job, _ = jdq.workplace.jobbook.create(TrainHead(dataset="d", version="v"))
    forecast = {"labels": 1000, "with_labels": [0.9, 0.8, 1.0], "fine_tune": [0.8, 1.0], "pays": pays}
    result = {"rows": {"train": 100}, **({} if pays is None else {"forecast": forecast})}
    jdq.workplace.client.hset(f"jdq:job:{job}", "result", json.dumps(result))
    started: list[FineTune] = []
    assert best_of(Client(jdq.workplace.environment), jdq.workplace.jobbook.job(job), encoder, started.append) == job
    assert [spec.options.encoder for spec in started] == (["hash:16"] if pays and encoder else [])
    said = capsys.readouterr().err
    assert said.startswith("no forecast: there" if pays is None else "forecast with 1,000 more labels: accuracy 0.900 ")


def test_rows_without_a_label_are_named_once(jdq: CommandLine) -> None:
    file = jdq.file(TABLE + "nothing,\n")
    said = jdq.run("submit", "auto", file, "--encoder", "hash:16", "--missing-labels", "keep").stderr
    assert [line for line in said.splitlines() if "label" in line and "warning" in line] == [
        f"warning: {file}: row 41 without a label"
    ]


def test_the_forecast_is_told_and_no_fine_tune_starts_by_itself(jdq: CommandLine, workers: None) -> None:
    found = jdq.run("submit", "auto", jdq.file(table(4)), "--encoder", "hash:16", "--wait")
    head = found.stdout.strip()
    forecast = jdq.json("result", head)["forecast"]
    assert forecast["pays"] and forecast["labels"] == 1000
    for said in (found.stderr, jdq.run("result", head).stdout):
        assert "forecast with 1,000 more labels: accuracy " in said
        assert "(then keep the head)" in said and "could pay" in said
    assert f"to classify with it: jdq submit predict FILE --head {head}" in found.stderr
    assert {job.kind for job in jdq.workplace.jobbook.jobs()} == {"extract", "train-head"}


def test_too_few_rows_for_a_forecast_are_said(jdq: CommandLine, workers: None) -> None:
    found = jdq.run("submit", "auto", jdq.file(TABLE), "--encoder", "hash:16", "--fine-tune", "auto")
    assert "no forecast: there are too few rows" in found.stderr
    assert {job.kind for job in jdq.workplace.jobbook.jobs()} == {"extract", "train-head"}


@pytest.mark.parametrize(("wrong_every", "tunes"), [(4, True), (1000, False)])
def test_a_fine_tune_that_could_pay_must_be_better_than_the_head(
    jdq: CommandLine, workers: None, tmp_path: Path, wrong_every: int, tunes: bool
) -> None:
    bart = str(make_tiny_bart(tmp_path / "bart"))
    found = jdq.run("submit", "auto", jdq.file(table(wrong_every)), "--encoder", bart, "--fine-tune", "auto")
    jobs = found.stdout.split()
    assert len(jobs) == 1 + tunes
    assert ("macro-F1 of the fine-tune minus that of the head: " in found.stderr) is tunes
    assert f"the best: {jobs[0]}" in found.stderr
    assert Models(jdq.workplace.store.root).has(jobs[-1]) is tunes
