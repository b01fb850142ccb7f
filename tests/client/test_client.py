"""The Python API on a stack: jobs are submitted as the command line submits them, and results are arrays and frames."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from jdq import Client
from jdq.client import BadRequest, JobNotSucceeded, ProgramFailed
from jdq.store.errors import StoreError
from jdq.worker.heads.errors import HeadError
from jdq.worker.queue.contract import Extract, TrainHead
from jdq.worker.queue.jobbook import UnknownJob
from tests.cli.test_client_is_light import HEAVY, imported_by
from tests.jobs.conftest import Workplace

TEXTS = [f"posting number {n}" for n in range(60)]
LABELS = [f"c{n % 3}" for n in range(60)]
FRAME = pd.DataFrame({"body": TEXTS, "class": LABELS, "count": range(60)})


def test_a_job_is_submitted_to_the_workers_and_waited_for(workplace: Workplace, remote: Client) -> None:
    job = remote.extract(TEXTS, label=LABELS, encoder="hash:16", name="posts")
    assert job.status == "queued"
    with pytest.raises(TimeoutError, match="it continues"):
        job.wait(timeout_s=0.1)
    workplace.worked(job.id)
    assert job.wait() is job
    assert job.status == "succeeded"
    assert job.result().shape == (60, 16)
    assert repr(job) == f"<Job {job.id}: succeeded>"
    assert remote.job(job.id).result().shape == (60, 16)


def test_a_head_waits_for_the_extraction_and_a_prediction_for_the_head(workplace: Workplace, remote: Client) -> None:
    extraction = remote.extract(FRAME, text="body", label="class", encoder="hash:16", name="posts")
    head = remote.train_head(extraction, params={"C": 0.5}, seed=7)
    predicted = remote.predict(FRAME.head(5), text="body", head=head)
    assert head.describe()["waits_for"] == [extraction.id]
    assert predicted.describe()["waits_for"] == [head.id]
    for job in (extraction, head, predicted):
        workplace.worked(job.id)
    spec = workplace.jobbook.job(head.id).spec
    assert isinstance(spec, TrainHead)
    assert (spec.options.params, spec.options.seed) == ({"C": 0.5}, 7)
    metrics = head.result()
    assert metrics.loc["rows", "value"] == 8
    value, low, high = metrics.loc["macro_f1"].to_numpy()
    assert low <= value <= high
    table = predicted.result()
    assert list(table.columns[:4]) == ["body", "class", "count", "predicted_label"]
    np.testing.assert_allclose(table.filter(like="probability_").sum(axis=1), 1, atol=1e-4)
    assert predicted.dataset == "predict-texts"


def test_the_options_of_an_extraction_reach_the_workers(workplace: Workplace, remote: Client, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    FRAME.to_csv(file, index=False)
    job = remote.extract(
        file, text=["body", "class"], encoder="hash:8", max_length=99, precision="float32", on_error="skip"
    )
    spec = workplace.jobbook.job(job.id).spec
    assert isinstance(spec, Extract)
    assert (spec.dataset, spec.max_length, spec.precision, spec.on_error) == ("table", 99, "float32", "skip")
    assert remote.store.datasets.get("table").source.text_columns == ("body", "class")


def test_priority_time_limit_and_notice_reach_the_workers(workplace: Workplace, remote: Client) -> None:
    urls = ["json://example.org/a", "json://example.org/b"]
    jobs = [
        remote.extract(FRAME, text="body", label="class", encoder="hash:16", name="posts", priority="high"),
        remote.train_head("posts", time_limit="90m"),
        remote.search("posts", trials=1, notify=urls),
        remote.fine_tune("posts", encoder="hash:16", priority="low", notify=urls[0]),
        remote.predict(["a"], head=remote.train_head("posts", priority="normal"), time_limit="1d"),
        remote.find_label_errors("posts", priority="low", time_limit="2h", notify=urls),
        remote.find_duplicates("posts", priority="low"),
    ]
    fields = [workplace.client.hmget(f"jdq:job:{job.id}", "priority", "time_limit_ms", "notify") for job in jobs]
    both, one = (msgspec.json.encode(each).decode() for each in (urls, urls[:1]))
    hour = 3_600_000
    assert fields == [
        ["3", None, None],
        ["5", str(hour * 3 // 2), None],
        ["7", None, both],
        ["7", None, one],
        ["5", str(24 * hour), None],
        ["7", str(2 * hour), both],
        ["7", None, None],
    ]


def test_a_priority_a_limit_or_a_notice_that_cannot_be_is_refused(
    remote: Client, local: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wanted, why in (
        ({"priority": "urgent"}, "priority is one of high, normal and low, not 'urgent'"),
        ({"time_limit": "2"}, "time_limit takes a length of time such as 30m, 2h or 1d, not '2'"),
        ({"notify": "nothing"}, "notify: no notice can be sent to this nothing URL"),
    ):
        with pytest.raises(BadRequest, match=why):
            remote.extract(TEXTS, encoder="hash:16", **wanted)  # type: ignore[arg-type]
    monkeypatch.setenv("JDQ_HIGH_PRIORITY", "alice")
    stranger = Client(remote._connection.config.broker_url, store=remote.store.root, quiet=True)
    with pytest.raises(BadRequest, match=r'priority="high" is reserved for alice .*\n.*try: priority="normal"'):
        stranger.extract(TEXTS, encoder="hash:16", priority="high")
    with pytest.raises(BadRequest, match=r"Client.local\(\) has none"):
        local.extract(TEXTS, encoder="hash:16", time_limit="2h")


def test_another_owners_job_is_cancelled_only_with_force(workplace: Workplace, remote: Client) -> None:
    job = remote.extract(TEXTS, encoder="hash:16")
    workplace.client.hset(f"jdq:job:{job.id}", "owner", "bob")
    with pytest.raises(BadRequest, match=rf'try: client.job\("{job.id}"\).cancel\(force=True\)'):
        job.cancel()
    assert job.cancel(force=True)


def test_a_job_is_cancelled_and_retried(workplace: Workplace, remote: Client) -> None:
    job = remote.extract(TEXTS, encoder="hash:16")
    assert job.cancel()
    assert not job.cancel()
    with pytest.raises(JobNotSucceeded, match=f"job {job.id} cancelled") as caught:
        job.result()
    assert caught.value.job == job.id
    workplace.worked(job.retry().id)
    assert job.wait().status == "succeeded"


def test_what_cannot_be_is_an_error_before_there_is_a_job(remote: Client) -> None:
    with pytest.raises(BadRequest, match="text 1 is int, not str"):
        remote.extract(["a", 2], encoder="hash:16")  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="2 texts, but 1 labels"):
        remote.extract(["a", "b"], label=["x"], encoder="hash:16")
    with pytest.raises(BadRequest, match="label must be a list"):
        remote.extract(["a", "b"], label="x", encoder="hash:16")
    with pytest.raises(BadRequest, match="label is the name of a column"):
        remote.extract(FRAME, label=["x"], encoder="hash:16")
    with pytest.raises(BadRequest, match="same name"):
        remote.extract(pd.concat([FRAME, FRAME], axis=1), text="body", encoder="hash:16")
    with pytest.raises(BadRequest, match="no pooling 'max'"):
        remote.extract(TEXTS, encoder="hash:16", pooling="max")
    with pytest.raises(StoreError, match="no column 'title'"):
        remote.extract(FRAME, text="title", encoder="hash:16")
    with pytest.raises(BadRequest, match="either head or model"):
        remote.predict(TEXTS)
    with pytest.raises(StoreError, match="no head has the id 'nope'"):
        remote.predict(TEXTS, head="nope")
    with pytest.raises(BadRequest, match="no dataset has been extracted yet"):
        remote.train_head()
    with pytest.raises(UnknownJob):
        remote.job("nope")


def test_missing_values_of_a_frame_are_empty_cells(remote: Client) -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": ["x", None, "y"], "number": [1.5, float("nan"), 2]})
    job = remote.extract(frame, encoder="hash:16", name="gaps")
    assert remote.store.frame(job.dataset).to_dict("list") == {
        "text": ["a", "b", "c"],
        "label": ["x", "", "y"],
        "number": ["1.5", "", "2.0"],
    }


def test_a_notice_says_what_was_assumed(remote: Client, capsys: pytest.CaptureFixture[str]) -> None:
    remote.extract(FRAME, text="body", label="class", encoder="hash:16")
    assert not capsys.readouterr().err
    remote._connection.quiet = False
    remote.extract(FRAME, text="body", label="class", encoder="hash:16")
    said = capsys.readouterr().err
    assert said.startswith("data: 60 rows; text column body, label column class (3 classes)\n")


def test_importing_the_client_imports_no_large_package() -> None:
    code = "from jdq import Client"
    names = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {name.partition(".")[0] for name in names} & (HEAVY | {"celery", "redis", "pandas", "h5py", "IPython"})
    assert "jdq.client" not in imported_by("jdq.store")


def test_a_dataset_that_cannot_be_loaded_raises_an_error(remote: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    with pytest.raises(ProgramFailed, match=r"load_dataset ended with exit code 2"):
        remote.extract("hf:nobody/nothing", text="body", encoder="hash:16")


def test_label_errors_are_a_frame_with_the_likeliest_first(workplace: Workplace, remote: Client) -> None:
    texts = [f"{'chef kitchen menu' if n % 2 else 'truck road load'} {n}" for n in range(60)]
    labels = ["cook" if n % 2 or n == 30 else "driver" for n in range(60)]
    remote.extract(texts, label=labels, encoder="hash:16", name="posts")
    job = remote.find_label_errors("posts", head="hybrid")
    for queued in reversed(workplace.jobbook.ids()):
        workplace.worked(queued)
    frame = job.result()
    first = frame.iloc[0]
    assert [first["row"], first["given_label"], first["suggested_label"]] == ["31", "cook", "driver"]
    assert frame["score"].dtype == float
    assert remote.job(job.id).result().equals(frame)


def test_near_duplicates_and_certain_predictions_are_frames(workplace: Workplace, remote: Client) -> None:
    remote.extract([*TEXTS, TEXTS[7]], label=[*LABELS, LABELS[7]], encoder="hash:16", name="posts")
    head = remote.train_head("posts")
    pairs = remote.find_duplicates("posts", least=0.9999)
    sets = remote.predict(TEXTS[:4], head=head, sets=0.9, abstain_at=0.99)
    for queued in reversed(workplace.jobbook.ids()):
        workplace.worked(queued)
    assert pairs.result()[["row", "other_row"]].to_numpy().tolist() == [["61", "8"]]
    frame = sets.result()
    assert frame["predicted_label"].tolist() == [""] * 4
    assert all(set(cell.split("|")) <= {"c0", "c1", "c2"} for cell in frame["label_set"])
    with pytest.raises(HeadError, match=r"0\.50 to 0\.99"):
        remote.predict(TEXTS, head=head, sets=0.2)
