"""`Client.auto`: the jobs of `jdq submit auto`, its forecast, and the better of a head and a fine-tune."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jdq import Client
from jdq.cli.submit.auto import best_of
from jdq.client import BadRequest
from jdq.store.errors import StoreError
from jdq.store.job_files import JobFiles
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.queue.contract import FineTune, TrainHead
from jdq.worker.queue.limits import PRIORITIES
from jdq.worker.queue.records import Job as Record
from jdq.worker.report.paired import TESTED
from tests.cli.conftest import CommandLine
from tests.cli.test_submit_auto import table
from tests.client.test_client import FRAME
from tests.jobs.conftest import Workplace

FORECAST = ["forecast", "forecast_low", "forecast_high", "fine_tune_low", "fine_tune_high"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Labels that follow from the words, but for one in four."""
    path = tmp_path / "table.csv"
    path.write_text(table(4), encoding="utf-8")
    return path


def test_the_jobs_are_those_of_the_command(workplace: Workplace, remote: Client) -> None:
    jdq = CommandLine(workplace)
    path = jdq.file(table(4))
    groups = {"text": "text", "label": "label", "group_column": "label"}
    mine = remote.auto(Path(path), encoder="hash:16", priority="low", time_limit="1h", **groups)  # type: ignore[arg-type]
    extraction = mine.describe()["waits_for"]
    assert [remote.job(id).kind for id in extraction] == ["extract"] and mine.kind == "train-head"
    arguments = ["--text-column", "text", "--label-column", "label", "--group-column", "label"]
    theirs = jdq.submit("auto", path, "--encoder", "hash:16", *arguments)
    of = workplace.jobbook.job
    assert of(mine.id).spec == of(theirs).spec
    assert [of(mine.id).priority, of(extraction[0]).priority] == [PRIORITIES["low"]] * 2
    assert of(mine.id).time_limit_s == 3600 and of(extraction[0]).time_limit_s is None


def test_the_metrics_have_the_forecast_of_the_accuracy(local: Client, file: Path) -> None:
    head = local.auto(file, encoder="hash:16")
    metrics = head.result()
    assert list(metrics.columns[3:]) == FORECAST
    value, low, high, worst, best = metrics.loc["accuracy", FORECAST].to_numpy()
    assert low <= value <= high
    assert worst == metrics.loc["accuracy", "value"] <= best
    assert metrics.drop("accuracy")[FORECAST].isna().all(axis=None)
    assert head.kind == "train-head"
    few = local.auto(FRAME, text="body", label="class", encoder="hash:16").result()
    assert few[FORECAST].isna().all(axis=None)


@pytest.mark.parametrize("labels", [None, "|"])
def test_a_fine_tune_that_could_pay_is_compared_with_the_head(
    local: Client, file: Path, tmp_path: Path, labels: str | None
) -> None:
    bart = str(make_tiny_bart(tmp_path / "bart"))
    best = local.auto(file, encoder=bart, fine_tune="auto", label_separator=labels, name="t")
    of_kind = {record.kind: record for record in local._connection.jobbook.jobs()}
    head, model = of_kind["train-head"], of_kind["fine-tune"]
    assert best.id == head.id and isinstance(head.spec, TrainHead) and (head.result or {})["forecast"]["pays"]
    spec = model.spec
    assert isinstance(spec, FineTune) and model.state == "succeeded"
    assert (spec.dataset, spec.version, spec.split) == ("t", head.spec.version, head.spec.split)
    # 252 rows are 16 steps in an epoch.
    assert spec.options == FineTuneOptions(encoder=bart, epochs=20, label_separator=labels)

    # Were all predictions of the head wrong, it would be the model; predictions take whichever job it is.
    files = JobFiles(local.store.root)
    tested = files.get_array(head.id, TESTED)
    wrong = tested.copy()
    wrong["predicted"] = ~tested["true"] if labels else 1 - tested["true"]
    (files.folder(head.id) / f"{TESTED}.npy").unlink()
    files.put_array(head.id, TESTED, wrong)

    def run(_: object) -> Record:
        return model

    assert best_of(local._connection, head, bart, run) == model.id
    by_model = local.predict(["a"], head=local.job(model.id)).wait()
    assert by_model.describe()["spec"]["model"] == model.id
    assert local.predict(["a"], head=best).describe()["spec"]["head"] == head.id


@pytest.mark.parametrize(("rows", "epochs"), [(100, 20), (2000, 8), (4000, 4), (100_000, 3)])
def test_few_rows_are_learnt_in_more_epochs(local: Client, file: Path, rows: int, epochs: int) -> None:
    head = local._connection.job(local.auto(file, encoder="hash:16").wait().id)
    many = replace(
        head, result={"rows": {"train": rows}, "forecast": {**(head.result or {})["forecast"], "pays": True}}
    )
    specs: list[FineTune] = []
    assert best_of(local._connection, many, "hash:16", specs.append) == head.id
    assert [spec.options.epochs for spec in specs] == [epochs]


def test_what_cannot_be_is_refused_before_any_job(local: Client, file: Path) -> None:
    with pytest.raises(BadRequest, match="fine_tune is either no or auto, not True"):
        local.auto(file, encoder="hash:16", fine_tune=True)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"try: client.auto\("):
        local.auto(file, text="nope", encoder="hash:16")
    assert list(local._connection.jobbook.jobs()) == []
