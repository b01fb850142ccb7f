"""The rows that are tested, as the user decides: a column, a test set, groups; and how much that choice matters."""

import json
import re
import shlex
import shutil
from typing import Any

import pytest

from jdq.worker.jobs.report import page_of
from tests.cli.conftest import CommandLine

HEADER = "text,label,company,fold\n"
FOLDED = HEADER + "".join(
    f"text number {n} of {'ab'[n % 2]},{'ab'[n % 2]},company {n // 4},{['Train', 'Train', 'dev', 'test '][n % 4]}\n"
    for n in range(80)
)
TESTS = "text,label\n" + "".join(f"another text {n} of {'ab'[n % 2]},{'ab'[n % 2]}\n" for n in range(30))


def result(jdq: CommandLine, *arguments: str) -> Any:
    return jdq.json("result", jdq.trained(*arguments))


def test_a_column_decides_which_rows_are_tested(jdq: CommandLine) -> None:
    jdq.extracted(FOLDED)
    found = result(jdq, "--split-column", "fold")
    assert found["rows"] == {"train": 40, "validation": 20, "test": 20}
    assert found["origin"]["split"] == {"column": "fold"}
    usual = result(jdq)
    assert usual["origin"]["split"] == {} and usual["rows"] != found["rows"]
    whys = {line["why"] for line in jdq.json("compare", "table")["lines"]}
    assert whys in ({"", "split column 'fold'"}, {"", "the default split"})


def test_groups_are_in_one_part(jdq: CommandLine) -> None:
    jdq.extracted(FOLDED)
    found = result(jdq, "--group-column", "company", "--repeats", "3")
    assert all(rows % 4 == 0 for rows in found["rows"].values())
    spread = found["repeats"]["metrics"]["accuracy"]
    assert found["repeats"]["splits"] == 3 == len(spread["folds"])
    assert spread["folds"][0] == found["metrics"]["accuracy"]
    assert "on 3 splits: accuracy" in jdq.run("result", found["head_id"]).stdout


def test_following_the_advice_adds_the_line_of_the_words_to_results_of_an_earlier_version(jdq: CommandLine) -> None:
    jdq.extracted(FOLDED)
    old = {jdq.trained("--group-column", "company", "--head", head) for head in ("logreg", "dummy")}
    for folder in jdq.workplace.store.root.glob("runs/floor-*"):  # earlier versions wrote none
        shutil.rmtree(folder)
    advice = jdq.run("compare", "table").stderr
    assert advice.startswith("no TF-IDF line: these results are from an earlier version of jdq")
    command = shlex.split(advice.partition("try: jdq ")[2])
    job = jdq.run(*command).stdout.split()[-1]
    assert jdq.workplace.worked(job).state == "succeeded"
    found = jdq.run("compare", "table")
    assert "tf-idf" in found.stdout.partition("* measured on other rows")[0] and not found.stderr
    lines = jdq.json("compare", "table")["lines"]
    assert {line["id"] for line in lines if line["why"]} == old


def test_a_test_set_is_imported_extracted_and_measured_on(jdq: CommandLine) -> None:
    jdq.extracted(FOLDED)
    submitted = jdq.run("submit", "train-head", "--test", jdq.file(TESTS, "official.csv"))
    extraction = re.findall(r"job (extract-\w+) extracts", submitted.stderr)[0]
    assert "extracts the test set evaluate-official" in submitted.stderr
    assert jdq.workplace.worked(extraction).state == "succeeded"
    job = submitted.stdout.split()[-1]
    assert jdq.workplace.worked(job).state == "succeeded"
    found = jdq.json("result", job)
    assert found["rows"]["test"] == 30 and sum(found["rows"].values()) == 110
    again = jdq.run("submit", "train-head", "--test", "evaluate-official")
    assert "extracts" not in again.stderr
    assert "another text" in page_of(jdq.workplace.store, job)


def test_a_test_set_waits_for_the_extraction_that_runs(jdq: CommandLine) -> None:
    first = jdq.submit("extract", jdq.file(FOLDED), "--encoder", "hash:16")
    submitted = jdq.run("submit", "train-head", "--test", jdq.file(TESTS, "official.csv"))
    extraction = re.findall(r"job (extract-\w+) extracts", submitted.stderr)[0]
    for job in (first, extraction, submitted.stdout.split()[-1]):
        assert jdq.workplace.worked(job).state == "succeeded"


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("--split-column", "part"), "--split-column: table has no column 'part'; it has: text, label, company, fold"),
        (("--split-column", "company"), "split column 'company' has the value 'company 0', 'company 1'"),
        (
            ("--split-column", "label", "--group-column", "company"),
            "--split-column and --group-column cannot be combined",
        ),
        (("--group-column", "firm"), "--group-column: table has no column 'firm'"),
        (("--test", "table"), "--test table is the same table as table"),
        (("--split-column", "fold", "--repeats", "3"), "--repeats draws other splits, but split column 'fold' decides"),
        (("--repeats", "1"), "--repeats"),
    ],
)
def test_what_cannot_decide_is_refused_before_a_job_exists(
    jdq: CommandLine, arguments: tuple[str, ...], fact: str
) -> None:
    jdq.extracted(FOLDED)
    found = jdq.run("submit", "train-head", *arguments, code=2)
    assert fact in found.stderr
    assert len(json.loads(jdq.run("jobs", "--json").stdout)) == 1


def test_a_column_without_a_test_row_is_refused(jdq: CommandLine) -> None:
    jdq.extracted(FOLDED.replace("test ", "dev"))
    found = jdq.run("submit", "train-head", "--split-column", "fold", code=2)
    assert "split column 'fold' has no row with the value 'test'; it needs train and test" in found.stderr


def test_a_fine_tune_takes_the_same_options(jdq: CommandLine) -> None:
    jdq.extracted(FOLDED)
    job = jdq.submit("fine-tune", "table", "--encoder", "facebook/bart-base", "--split-column", "fold")
    assert jdq.workplace.jobbook.job(job).spec.split.column == "fold"  # type: ignore[union-attr]
    refused = jdq.run("submit", "fine-tune", "table", "--group-column", "firm", code=2)
    assert "no column 'firm'" in refused.stderr
