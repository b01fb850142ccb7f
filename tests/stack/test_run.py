"""`jdq run`: one command from a table to a report, by the ordinary jobs; interrupted, it continues."""

import csv
import signal
import subprocess
from pathlib import Path

from tests.stack.conftest import JDQ, Stack

PARTS = ("red apples", "green pears", "dry bread")


def table(folder: Path, name: str, *, rows: int, labels: bool = True, word: str = "") -> str:
    """A CSV whose text and label columns have other names than jdq's own."""
    file = folder / name
    texts = [f"{word}{PARTS[n % 3]} number {n}" for n in range(rows)]
    lines = [f"{text},{PARTS[n % 3][:3]}" if labels else text for n, text in enumerate(texts)]
    file.write_text("\n".join(["description" + (",category" if labels else ""), *lines]) + "\n", encoding="utf-8")
    return str(file)


def test_one_command_goes_from_a_table_to_a_report_and_predictions(stack: Stack, tmp_path: Path) -> None:
    data, new = table(tmp_path, "fruit.csv", rows=48), table(tmp_path, "new.csv", rows=7, labels=False)
    command = ["run", data, "--predict", new, "--encoder", "hash:32", "-o", str(tmp_path / "results")]
    finished = stack.run(*command)
    assert "text column description, label column category (3 classes)" in finished.stderr
    assert finished.stdout.splitlines()[-1] == str(tmp_path / "results")
    jobs = stack.json("jobs")
    assert [job["kind"] for job in jobs] == ["predict", "train-head", "train-head", "extract"]
    assert all(job["state"] == "succeeded" for job in jobs)

    with (tmp_path / "results" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["description"] for row in rows] == [f"{PARTS[n % 3]} number {n}" for n in range(7)]
    assert {row["predicted_label"] for row in rows} <= {"red", "gre", "dry"}
    predict, search, head, _ = (job["job"] for job in jobs)
    assert stack.json("result", search)["search"]["trials"], "the second head is that of the search"
    assert stack.json("result", predict)["head_id"] == head
    assert "<svg" in (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert head in (tmp_path / "results" / "comparison.csv").read_text(encoding="utf-8")
    readme = (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
    assert all(job["job"] in readme for job in jobs)
    assert f"`jdq run --predict {new}" in readme

    stack.run(*command)
    again = stack.json("jobs")
    assert [job["job"] for job in again][1:] == [job["job"] for job in jobs], "only the extraction looks again"
    assert (again[0]["kind"], again[0]["computed"], again[0]["reused"]) == ("extract", 0, 48)


def test_interrupted_it_continues_with_the_job_that_it_left(stack: Stack, tmp_path: Path) -> None:
    data = table(tmp_path, "slow.csv", rows=300, word="[slow] ")
    command = ["run", data, "--encoder", "hash:16", "-o", str(tmp_path / "results")]
    with subprocess.Popen([JDQ, *command], env=stack.environment, stderr=subprocess.PIPE, text=True) as process:
        lines: list[str] = []
        while "running" not in (lines[-1] if lines else ""):
            assert process.stderr is not None
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        [left] = stack.json("jobs")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130
    assert "the same jdq run" in rest
    assert stack.json("status", left["job"])["state"] in ("running", "succeeded"), "the job goes on"

    stack.run(*command)
    extractions = [job for job in stack.json("jobs") if job["kind"] == "extract"]
    assert [job["job"] for job in extractions] == [left["job"]]
    assert extractions[0]["computed"] == 300
    assert (tmp_path / "results" / "report.html").is_file()


def test_what_is_wrong_is_said_before_anything_starts(stack: Stack, tmp_path: Path) -> None:
    data, other = table(tmp_path, "fruit.csv", rows=9), tmp_path / "other.csv"
    other.write_text("body\nred apples\n", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    encoder = ("--encoder", "hash:16")
    refused = stack.run("run", data, "--predict", str(other), *encoder, code=2).stderr
    assert "no column 'description'" in refused
    assert f"try: jdq submit predict --head @last {other} --text-column body" in refused
    output = str(tmp_path / "file" / "x")
    assert "cannot create the folder" in stack.run("run", data, "-o", output, *encoder, code=2).stderr
    unlabelled = table(tmp_path, "plain.csv", rows=9, labels=False)
    assert "label" in stack.run("run", unlabelled, *encoder, code=2).stderr
    assert not (stack.home / "run" / "stack.json").exists()
    assert "nothing was running" in stack.run("down").stderr
