"""Jobs of `Client.local()`: the same plans and chunks as on workers, in this process and without Redis."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jdq import Client
from jdq.client import JobNotSucceeded
from jdq.worker.encoder.hashing import HashEncoder, hashed_feature
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.queue.jobbook import NotRetried
from tests.client.test_client import LABELS, TEXTS
from tests.jobs.conftest import Workplace


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The encoder waits, in each batch, until the event is set."""
    go = threading.Event()
    encode = HashEncoder.encode

    def waiting(self: HashEncoder, tokens: object, *, after_batch: object = None) -> np.ndarray:
        go.wait(20)
        return encode(self, tokens, after_batch=after_batch)  # type: ignore[arg-type]

    monkeypatch.setattr(HashEncoder, "encode", waiting)
    yield go
    go.set()


def test_the_whole_way_from_texts_to_predictions(local: Client) -> None:
    extraction = local.extract(TEXTS, label=LABELS, encoder="hash:16", name="posts")
    head = local.train_head(extraction)
    search = local.search(extraction, heads=["logreg", "knn"], trials=3)
    table = local.predict([*TEXTS[:2], " ", "new"], head=search).result()
    np.testing.assert_array_equal(extraction.result()[7], hashed_feature(TEXTS[7], 16))
    assert head.result().loc["rows", "value"] == 8
    assert list(search.result()["head"].unique()) in (["logreg"], ["knn"], ["logreg", "knn"], ["knn", "logreg"])
    assert len(search.result()) == 3
    assert table["predicted_label"].isna().tolist() == [False, False, True, False]
    compared = local.compare(extraction)
    assert set(compared["id"]) == {head.id, search.id}
    assert compared["comparable"].all()
    assert compared["tokens"].tolist() == [extraction.describe()["tokens"]] * 2


def test_counts_are_those_of_workers(local: Client, workplace: Workplace, remote: Client) -> None:
    texts = [*TEXTS, *TEXTS[:5]]
    local.extract(TEXTS[:20], encoder="hash:16").wait()
    remote_first = remote.extract(TEXTS[:20], encoder="hash:16")
    workplace.worked(remote_first.id)
    mine, theirs = local.extract(texts, encoder="hash:16").wait(), remote.extract(texts, encoder="hash:16")
    workplace.worked(theirs.id)
    names = ("texts_done", "texts_total", "reused", "computed", "tokens", "chunks_done", "chunks_total", "state")
    assert {name: mine.describe()[name] for name in names} == {name: theirs.describe()[name] for name in names}
    assert mine.describe()["computed"] == 40


def test_a_fine_tune_is_trained_and_predicts(local: Client, tmp_path: Path) -> None:
    encoder = tmp_path / "tiny"
    make_tiny_bart(encoder, dim=32, layers=1)
    model = local.fine_tune(TEXTS, label=LABELS, encoder=str(encoder), epochs=1, batch_size=30)
    assert model.result().loc["rows", "value"] == 8
    assert set(local.predict(TEXTS[:3], model=model).result()["predicted_label"]) <= set(LABELS)


def test_a_wrong_job_fails_with_the_error_of_its_work(local: Client) -> None:
    extraction = local.extract(TEXTS, label=LABELS, encoder="hash:16")
    head = local.train_head(extraction, head="dummy", params={"strategy": "nope"})
    waits = local._connection.submit(local._connection.job(head.id).spec, after=[head.id])  # type: ignore[arg-type]
    with pytest.raises(JobNotSucceeded, match=r"failed: dummy cannot be trained with these parameters"):
        head.wait()
    assert local.job(waits).describe()["error"]["message"].startswith(f"job {head.id}, which this job waited for")
    assert head.describe()["error"]["type"] == "BadParameter"
    with pytest.raises(JobNotSucceeded):
        head.retry().wait()
    with pytest.raises(NotRetried, match="is succeeded"):
        extraction.retry()


def test_a_running_job_is_cancelled_and_a_queued_one_never_starts(local: Client, held_back: threading.Event) -> None:
    running, queued = local.extract(TEXTS, encoder="hash:16"), local.extract(TEXTS[:3], encoder="hash:8", name="other")
    while running.status == "queued" or not running.describe()["chunks_done"]:
        time.sleep(0.01)
    assert running.describe()["workers"] == ["this-process"]
    assert running.cancel()
    assert queued.cancel()
    held_back.set()
    for job in (running, queued):
        with pytest.raises(JobNotSucceeded, match="cancelled"):
            job.wait()
    assert running.retry().result().shape == (60, 16)
    assert queued.describe()["started"] is None


def test_a_frame_with_numbers_has_its_cells_as_text(local: Client) -> None:
    job = local.extract(pd.DataFrame({"text": ["a", "b"], "n": [1, 2]}), encoder="hash:16").wait()
    assert local.store.frame(job.dataset)["n"].tolist() == ["1", "2"]
