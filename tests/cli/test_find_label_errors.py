"""`jdq submit find-label-errors`: what it reads, the table that it writes, and the report about it."""

import json

from tests.cli.conftest import CommandLine

ROWS = [
    (f"{'chef kitchen menu' if n % 2 else 'truck road load'} {n}", "cook" if n % 2 else "driver") for n in range(60)
]
PLANTED = "text,label\n" + "".join(f"{text},{'driver' if n == 31 else label}\n" for n, (text, label) in enumerate(ROWS))


def test_suspects_are_written_to_a_table_and_a_report(jdq: CommandLine) -> None:
    jdq.extracted(PLANTED)
    job = jdq.submit("find-label-errors", "--head", "hybrid")
    assert jdq.workplace.worked(job).state == "succeeded"
    shown = jdq.run("result", job)
    assert "1 of 60 labels of table" in shown.stdout
    assert "driver" in shown.stdout
    assert f"jdq result {job} --to out.csv" in shown.stderr
    target = jdq.workplace.folder / "errors.jsonl"
    jdq.run("result", job, "--to", str(target))
    (line,) = target.read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert (found["row"], found["given_label"], found["suggested_label"]) == ("32", "driver", "cook")
    assert 0.5 < found["score"] <= 1
    page = jdq.workplace.folder / "report.html"
    jdq.run("report", "@last", "-o", str(page))


def test_it_waits_for_the_extraction_and_refuses_what_cannot_be_judged(jdq: CommandLine) -> None:
    last = jdq.submit("extract", jdq.file(PLANTED), "--encoder", "hash:16")
    job = jdq.submit("find-label-errors", "table", "--folds", "3", "--seed", "4", "--multi-label")
    status = jdq.json("status", job)
    assert status["waits_for"] == [last]
    assert (status["spec"]["folds"], status["spec"]["seed"], status["spec"]["label_separator"]) == (3, 4, "|")
    assert "no column" in jdq.run("submit", "find-label-errors", "table", "--label-column", "x", code=2).stderr
    assert "no dataset" in jdq.run("submit", "find-label-errors", "nothing", code=4).stderr


def test_other_kinds_of_jobs_have_no_table(jdq: CommandLine) -> None:
    job = jdq.extracted(PLANTED)
    said = jdq.run("result", job, "--to", str(jdq.workplace.folder / "x.csv"), code=2).stderr
    assert "only these kinds have one: predict, find-label-errors" in said
