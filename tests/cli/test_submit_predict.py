"""`jdq submit predict`: the table that it writes, and what it waits for."""

import csv
import json

import pyarrow.parquet as pq

from tests.cli.conftest import CommandLine


def test_predictions_are_written_beside_the_files_columns(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    new = jdq.file("id,text\n7,text number 3 of b\n9,something else\n", "new.csv")
    job = jdq.submit("predict", new, "--head", head)
    jdq.workplace.worked(job)
    assert f"jdq result {job} --to out.csv" in jdq.run("result", job).stderr
    target = jdq.workplace.folder / "out.csv"
    assert "--to" not in jdq.run("result", job, "--to", str(target)).stderr
    header, *rows = target.read_text(encoding="utf-8").splitlines()
    assert header == "id,text,predicted_label,probability_a,probability_b"
    assert [row.split(",")[:2] for row in rows] == [["7", "text number 3 of b"], ["9", "something else"]]
    assert list(jdq.workplace.folder.glob(".*.partial")) == []


def test_the_ending_of_the_file_chooses_its_format(jdq: CommandLine) -> None:
    job = predicted(jdq, 'id,text\n7,"tab\there"\n=1+1,"line\rend"\n')
    folder = jdq.workplace.folder
    for name in ("out.csv", "out.tsv", "out.jsonl", "OUT.PARQUET"):
        jdq.run("result", job, "--to", str(folder / name))
    with (folder / "out.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["id", "text", "predicted_label", "probability_a", "probability_b"]
    assert [row[:2] for row in rows] == [["7", "tab\there"], ["=1+1", "line\rend"]]
    with (folder / "out.tsv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream, delimiter="\t")) == [header, *rows]
    expected = [dict(zip(header, [*row[:3], *map(float, row[3:])], strict=True)) for row in rows]
    assert [
        json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    ] == expected
    assert pq.read_table(folder / "OUT.PARQUET").to_pylist() == expected


def test_a_table_on_stdout_is_all_of_stdout(jdq: CommandLine) -> None:
    job = predicted(jdq, "text\nsomething else\n")
    found = jdq.run("result", job, "--to", "-").stdout
    assert found.startswith("text,predicted_label,probability_a,probability_b\nsomething else,")
    assert found.count("\n") == 2


def test_cells_that_a_spreadsheet_would_run_stay_as_they_are_by_default(jdq: CommandLine) -> None:
    job = predicted(jdq, "text\n\"=cmd|' /C calc'!A0\"\n-5\n@x\nplain\n")
    out = jdq.workplace.folder / "out.csv"
    jdq.run("result", job, "--to", str(out))
    assert out.read_text(encoding="utf-8").splitlines()[1].startswith("=cmd|")
    jdq.run("result", job, "--to", str(out), "--force", "--excel-safe", "--bom")
    assert out.read_bytes().startswith(b"\xef\xbb\xbftext,")
    firsts = [line.split(",")[0] for line in out.read_text(encoding="utf-8-sig").splitlines()[1:]]
    assert firsts == ["'=cmd|' /C calc'!A0", "-5", "'@x", "plain"]


def test_a_file_that_exists_or_has_an_unknown_ending_is_not_written(jdq: CommandLine) -> None:
    job = predicted(jdq, "text\nsomething else\n")
    out = jdq.workplace.folder / "out.csv"
    out.write_text("mine")
    assert "--force replaces it" in jdq.run("result", job, "--to", str(out), code=2).stderr
    assert out.read_text() == "mine"
    jdq.run("result", job, "--to", str(out), "--force")
    for name, word in (("out.xlsx", "must end in one of: .csv, .tsv"), ("new.jsonl", "are for .csv and .tsv")):
        target = jdq.workplace.folder / name
        assert word in jdq.run("result", job, "--to", str(target), "--bom", code=2).stderr
        assert not target.exists()


def predicted(jdq: CommandLine, content: str) -> str:
    """The id of a prediction of this file that has succeeded."""
    jdq.extracted()
    job = jdq.submit("predict", jdq.file(content, "new.csv"), "--head", jdq.trained())
    assert jdq.workplace.worked(job).state == "succeeded"
    return job


def test_a_prediction_is_by_one_head_or_one_model_that_is_there(jdq: CommandLine) -> None:
    file = jdq.file()
    for options in ((), ("--head", "a", "--model", "b")):
        assert "--head or --model" in jdq.run("submit", "predict", file, *options, code=2).stderr
        assert "--head or --model" in jdq.run("predict", "a text", *options, code=2).stderr
    assert "train-head-none" in jdq.run("submit", "predict", file, "--head", "train-head-none", code=4).stderr
    assert "fine-tune-none" in jdq.run("submit", "predict", file, "--model", "fine-tune-none", code=4).stderr


def test_a_promise_that_a_head_cannot_keep_is_refused_before_there_is_a_job(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    file = jdq.file(name="new.csv")
    job = jdq.submit("predict", file, "--head", head, "--abstain-at", "0.9", "--sets", "0.95")
    assert jdq.json("status", job)["spec"]["certain"] == {"abstain_at": 0.9, "sets": 0.95}
    assert jdq.workplace.worked(job).state == "succeeded"
    assert "rows are too uncertain for a label" in jdq.run("result", job).stdout
    before = len(jdq.json("jobs"))
    for command in (("submit", "predict", file), ("predict", "a text"), ("evaluate", file)):
        assert "0.50 to 0.99" in jdq.run(*command, "--head", head, "--sets", "0.995", code=2).stderr
    few = jdq.trained("--per-class", "1")
    refused = jdq.run("submit", "predict", file, "--head", few, "--sets", "0.9", code=2).stderr
    assert f"{few} does not know how certain it is" in refused
    assert len(jdq.json("jobs")) == before + 1


def test_a_prediction_waits_for_a_head_that_is_still_trained(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.submit("train-head")
    job = jdq.submit("predict", jdq.file(name="new.csv"), "--head", head)
    assert jdq.json("status", job)["waits_for"] == [head]
    jdq.run("cancel", head)
    assert f"job {head} cancelled" in jdq.run("submit", "predict", jdq.file(), "--head", head, code=2).stderr


def test_a_table_that_could_not_be_written_is_said_before_anything_is_computed(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    before = len(jdq.json("jobs"))
    for target, word in (
        (jdq.workplace.folder / "none" / "out.csv", "no folder"),
        (jdq.workplace.folder, "is a folder"),
    ):
        found = jdq.run("submit", "predict", jdq.file(), "--head", head, "--to", str(target), code=2)
        assert word in found.stderr
    assert len(jdq.json("jobs")) == before
