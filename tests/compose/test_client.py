"""The client's container, which has no torch: it does all that the client does, and says what it cannot reach."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.compose.stack import Stack
from tests.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.slow]
TEXT = "A chef for the evening service in a busy kitchen"


@pytest.fixture(scope="module")
def head(stack: Stack) -> str:
    """On the features of a small table."""
    extraction = stack.submit("extract", "/data/few.csv", "--name", "client")
    trained = stack.submit("train-head", "client", "--head", "logreg")
    stack.succeeded(extraction, within_s=90)
    stack.succeeded(trained, within_s=90)
    return trained


def test_a_text_gets_the_answer_of_a_table(stack: Stack, folder: Path, head: str) -> None:
    with (folder / "data" / "one.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], [TEXT]])
    table = stack.jdq("submit", "predict", "/data/one.csv", "--head", head, "--to", "-").stdout
    [row] = csv.DictReader(table.splitlines())
    answer = json.loads(stack.jdq("predict", TEXT, "--head", head, "--json").stdout)
    assert answer["label"] == row["predicted_label"]
    for name, probability in answer["probabilities"].items():
        assert probability == pytest.approx(float(row[f"probability_{name}"]), abs=1e-3)
    tuned = stack.submit("fine-tune", "client", "--epochs", "1", "--max-length", "32", "--batch-size", "16")
    stack.succeeded(tuned, within_s=180)
    by_model = json.loads(stack.jdq("predict", TEXT, "--model", tuned, "--json").stdout)
    assert by_model["probabilities"].keys() == answer["probabilities"].keys()
    # What the client has taken away is soon out of the history.
    until(lambda: all(job["kind"] != "classify" for job in stack.ask("jobs")), within_s=60, why="short jobs are gone")


def test_a_report_and_scores_come_from_the_workers(stack: Stack, folder: Path, head: str) -> None:
    assert stack.jdq("report", head, "-o", "-").stdout.startswith("<!doctype html>")
    stack.jdq("report", "client")
    assert (folder / "data" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    measured = json.loads(stack.jdq("evaluate", "/data/few.csv", "--head", head, "--json").stdout)
    assert measured["rows"] == 60
    left = ("find", "/store/runs", "(", "-name", "texts.json", "-o", "-name", "output.npy", ")")
    assert stack.compose("exec", "-T", "cpu-worker", *left).stdout == ""


def test_what_cannot_be_written_is_refused_before_there_is_a_job(stack: Stack, folder: Path, head: str) -> None:
    locked = folder / "data" / "locked"
    locked.mkdir(mode=0o755)
    jobs = len(stack.ask("jobs", "--kind", "predict", "--limit", "1000"))
    refused = stack.jdq(
        "submit", "predict", "/data/few.csv", "--head", head, "--to", "/data/locked/out.csv", check=False
    )
    assert refused.returncode == 2
    assert "the folder /data/locked belongs to user" in refused.stderr
    assert "chown 10001" in refused.stderr or "JDQ_UID=" in refused.stderr
    assert len(stack.ask("jobs", "--kind", "predict", "--limit", "1000")) == jobs


def test_hub_datasets_are_read_and_tokens_counted_without_torch(stack: Stack, folder: Path) -> None:
    hub = folder / "data" / "hub"
    hub.mkdir(mode=0o755)
    (hub / "train.csv").write_text("text,label\na nurse,x\na welder,y\n", encoding="utf-8")
    name, _ = stack.jdq("import", "hf:/data/hub", "--name", "from-hub").stdout.split()
    assert name == "from-hub"
    shown = json.loads(stack.jdq("submit", "extract", "/data/few.csv", "--dry-run", "--json").stdout)
    assert sum(texts for _, texts in shown["extraction"]["token_lengths"]) == shown["texts"]


def test_an_encoder_that_only_the_client_sees_is_refused(stack: Stack, folder: Path) -> None:
    shutil.copytree(folder / "models" / "tiny", folder / "data" / "tiny")
    refused = stack.jdq("submit", "extract", "/data/few.csv", "--encoder", "/data/tiny", check=False)
    assert refused.returncode == 2
    assert "the workers do not see /data/tiny; they see /models" in refused.stderr
