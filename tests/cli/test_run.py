"""What `jdq run` does not do again, and what it does."""

import pytest

from jdq.cli.client import Client
from jdq.cli.run import ensure
from jdq.store.job_files import JobFiles
from jdq.store.trained import Heads
from jdq.worker.heads.options import HeadOptions
from jdq.worker.queue.contract import Extract, Predict, TrainHead
from tests.cli.conftest import CommandLine


@pytest.fixture
def client(jdq: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Client:
    for name, value in jdq.workplace.environment.items():
        monkeypatch.setenv(name, value)
    return Client()


def test_a_job_that_is_under_way_is_waited_for(jdq: CommandLine, client: Client) -> None:
    version = jdq.workplace.imported("text,label\none,a\ntwo,b\n")
    spec = Extract(dataset=version.name, version=version.version, encoder="hash:16")
    job = ensure(client, spec)
    assert ensure(client, spec) == job
    other = Extract(dataset=version.name, version=version.version, encoder="hash:32")
    assert ensure(client, other) != job
    client.jobbook.cancel(job)
    assert ensure(client, spec) != job


def test_a_head_that_is_there_is_not_trained_again(jdq: CommandLine, client: Client) -> None:
    jdq.extracted()
    head = jdq.trained()
    spec = client.job(head).spec
    assert isinstance(spec, TrainHead)
    assert ensure(client, spec) == head
    assert ensure(client, TrainHead(dataset=spec.dataset, version=spec.version, options=HeadOptions(seed=1))) != head
    Heads(jdq.workplace.store.root).remove(head)
    assert ensure(client, spec) != head


def test_a_prediction_whose_table_is_there_is_not_made_again(jdq: CommandLine, client: Client) -> None:
    jdq.extracted()
    job = jdq.submit("predict", jdq.file("text\nnew\n", "new.csv"), "--head", jdq.trained())
    jdq.workplace.worked(job)
    spec = client.job(job).spec
    assert isinstance(spec, Predict)
    assert ensure(client, spec) == job
    (JobFiles(jdq.workplace.store.root).folder(job) / "predictions.csv").unlink()
    assert ensure(client, spec) != job


def test_an_extraction_looks_again_at_what_the_store_has(jdq: CommandLine, client: Client) -> None:
    job = jdq.extracted()
    spec = client.job(job).spec
    assert isinstance(spec, Extract)
    assert ensure(client, spec) != job


def test_a_table_without_a_usual_name_for_its_labels_is_refused_with_the_likeliest_column(jdq: CommandLine) -> None:
    rows = "".join(f"{n},text {n},{'ab'[n % 2]},2026\n" for n in range(20))
    found = jdq.run("run", jdq.file("nr,text,art,year\n" + rows, "kunden.csv"), "--encoder", "hash:8", code=2)
    assert "no column 'label' in" in found.stderr and "it has: nr, text, art, year" in found.stderr
    assert found.stderr.rstrip().endswith("kunden.csv --label-column art")
    assert list(jdq.workplace.jobbook.jobs()) == []
    found = jdq.run("run", jdq.file("text\nx\ny\n", "texts.csv"), "--encoder", "hash:8", code=2)
    assert "try:" not in found.stderr
