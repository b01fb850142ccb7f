"""`jdq submit`: stdout is the job's id, what is wrong is said before anything is imported, and jobs wait for others."""

from __future__ import annotations

import csv
import json
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jdq.worker.queue.contract import PROTOCOL, Queue
from tests.cli.conftest import TABLE, CommandLine


def test_the_jobs_id_is_the_whole_output_and_messages_go_to_stderr(jdq: CommandLine) -> None:
    found = jdq.run("submit", "extract", jdq.file(), "--encoder", "hash:16")
    [job] = found.stdout.splitlines()
    assert job.startswith("extract-")
    assert "dataset table" in found.stderr
    assert "no worker serves the gpu queue" in found.stderr
    assert jdq.json("status", job)["state"] == "queued"


def test_an_extraction_computes_what_the_store_lacks(jdq: CommandLine) -> None:
    first = jdq.extracted()
    more = TABLE + "".join(f"a later text {n},a\n" for n in range(3))
    second = jdq.extracted(more, "later.csv")
    assert [jdq.json("result", job)["computed"] for job in (first, second)] == [40, 3]
    assert jdq.json("result", second)["reused"] == 40
    assert jdq.run("result", second).stdout.startswith("3 computed by the hash path, 40 reused\n")


def test_the_tables_options_are_used_and_its_warnings_printed(jdq: CommandLine) -> None:
    file = jdq.file("id;body;kind\n1;one;x\n2;;y\n3;three;y\n", "odd.csv")
    found = jdq.run(
        *("submit", "extract", file, "--encoder", "hash:16", "--delimiter", ";", "--text-column", "body"),
        *("--label-column", "kind", "--skip-empty", "--name", "renamed"),
    )
    assert "warning:" in found.stderr
    assert "row 2 without text, left out" in found.stderr
    version = jdq.workplace.store.datasets.get("renamed")
    assert (version.n_rows, version.label_column) == (2, "kind")


def test_the_old_name_of_the_delimiter_option_still_works(jdq: CommandLine) -> None:
    file = jdq.file("text|label\none,x|a\ntwo|b\n", "bars.csv")
    jdq.submit("extract", file, "--encoder", "hash:16", "--separator", "|")
    assert jdq.workplace.store.datasets.get("bars").n_rows == 2


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("text,label\n,a\nx,b\n", "--skip-empty"),
        ("text,label\nx\n", "line 2 has 1 cell; the header has 2"),
        ("", "is empty"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_no_dataset_and_no_job(jdq: CommandLine, content: str, word: str) -> None:
    file = jdq.file(content, "bad.csv")
    found = jdq.run("submit", "extract", file, "--encoder", "hash:16", code=2)
    assert found.stdout == ""
    assert word in found.stderr
    assert jdq.workplace.store.datasets.names() == []
    assert jdq.json("jobs") == []


def test_a_job_waits_for_those_that_are_named(jdq: CommandLine) -> None:
    first = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    found = jdq.run("submit", "extract", jdq.file(name="b.csv"), "--encoder", "hash:16", "--after", first)
    second = found.stdout.strip()
    assert f"after {first}" in found.stderr
    assert jdq.json("status", second)["waits_for"] == [first]
    assert f"waits for {first}" in jdq.run("status", second).stdout
    jdq.workplace.worked(first)
    assert jdq.json("status", second)["waits_for"] == []


def test_a_job_cannot_wait_for_one_that_is_unknown_or_has_not_succeeded(jdq: CommandLine) -> None:
    asked = ("submit", "extract", jdq.file(), "--encoder", "hash:16", "--after")
    assert "no job has the id 'extract-none'" in jdq.run(*asked, "extract-none", code=4).stderr
    cancelled = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    jdq.run("cancel", cancelled)
    assert f"try: jdq status {cancelled}" in jdq.run(*asked, cancelled, code=2).stderr


def test_a_head_is_trained_on_the_dataset_extracted_last_once_that_is_done(jdq: CommandLine) -> None:
    jdq.extracted()
    last = jdq.submit("extract", jdq.file(name="newer.csv"), "--encoder", "hash:8")
    head = jdq.submit("train-head")
    status = jdq.json("status", head)
    assert (status["dataset"], status["waits_for"]) == ("newer", [last])


def test_a_head_needs_features(jdq: CommandLine) -> None:
    assert "no dataset was extracted yet" in jdq.run("submit", "train-head", code=2).stderr
    jdq.workplace.imported(TABLE, "bare")
    assert "has no features yet" in jdq.run("submit", "train-head", "bare", code=2).stderr
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    jdq.run("cancel", job)
    assert f"{job}, cancelled" in jdq.run("submit", "train-head", code=2).stderr


def test_a_head_is_trained_on_the_last_extraction_that_succeeded(jdq: CommandLine) -> None:
    good = jdq.extracted()
    failed = jdq.submit("extract", jdq.file(), "--encoder", "/no/such/folder")
    assert jdq.workplace.worked(failed).state == "failed"
    found = jdq.run("submit", "train-head")
    assert f"the last extraction, {failed}, failed; the features are those of {good}" in found.stderr
    spec = jdq.json("status", found.stdout.strip())["spec"]
    assert spec["space"] == jdq.json("result", good)["space"]


def test_a_space_that_is_named_needs_no_extraction_that_succeeded(jdq: CommandLine) -> None:
    space = jdq.json("result", jdq.extracted())["space"]
    jdq.workplace.client.flushall()
    waiting = jdq.submit("extract", jdq.file(TABLE + "one more,a\n"), "--encoder", "hash:8", "--name", "table")
    for words in (("table",), ()):
        status = jdq.json("status", jdq.submit("train-head", *words, "--space", space[:6]))
        assert (status["spec"]["space"], status["waits_for"]) == (space, [])
    versions = {v.version: v for v in jdq.workplace.store.datasets.list()}
    named = jdq.json("status", jdq.submit("train-head", "table", "--space", space))["version"]
    assert [made.space for made in versions[named].spaces()] == [space]
    jdq.run("cancel", waiting)
    jdq.submit("train-head", "table", "--space", space)


def test_features_in_the_store_serve_where_every_extraction_of_the_queue_failed(jdq: CommandLine) -> None:
    jdq.extracted()
    jdq.workplace.client.flushall()
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:8")
    jdq.run("cancel", job)
    found = jdq.run("submit", "train-head")
    assert f"{job}, cancelled; the features are those of hash:16 in the store" in found.stderr


@pytest.mark.parametrize(
    ("encoder", "word", "code"),
    [
        ("hash:none", "try: hash:64", 2),
        ("a/b/c", "neither a folder nor a name on the hub", 2),
        ("./nothing", "neither a folder nor a name on the hub", 2),
        ("fine-tune-nonenone", "no model has the id 'fine-tune-nonenone'", 4),
        ("{folder}", "has no config.json", 2),
        ("{folder}/table.csv", "is a file", 2),
    ],
)
def test_an_encoder_that_cannot_be_one_is_refused_before_anything_is_stored(
    jdq: CommandLine, encoder: str, word: str, code: int
) -> None:
    file = jdq.file()
    for command in ("extract", "fine-tune"):
        asked = encoder.format(folder=jdq.workplace.folder)
        assert word in jdq.run("submit", command, file, "--encoder", asked, code=code).stderr
    assert jdq.workplace.store.datasets.names() == []


def test_a_folder_must_exist_only_where_the_workers_are_on_this_machine(jdq: CommandLine, tmp_path: Path) -> None:
    from types import SimpleNamespace
    from typing import Any

    from jdq.cli.client import BadRequest
    from jdq.cli.submit.checks import check_classifiers, checked_encoder
    from jdq.worker.config import read_config
    from jdq.worker.heads.errors import UnknownHead

    config = read_config({"JDQ_HOME": str(tmp_path), "JDQ_CLASSIFIERS": "a.B"})
    here: Any = SimpleNamespace(config=config)
    with pytest.raises(BadRequest, match="no folder /no/such/folder"):
        checked_encoder(here, "/no/such/folder")
    check_classifiers(config, ["logreg", "a.B"])
    with pytest.raises(UnknownHead, match=r"a\.C is not allowed"):
        check_classifiers(config, ["a.C"])
    elsewhere = read_config(jdq.workplace.environment)
    check_classifiers(elsewhere, ["a.C"])
    assert checked_encoder(SimpleNamespace(config=elsewhere), "/no/such/folder") == "/no/such/folder"  # type: ignore[arg-type]


def test_a_head_is_trained_on_what_the_store_remembers_where_the_queue_has_forgotten(jdq: CommandLine) -> None:
    jdq.extracted()
    jdq.workplace.runtime("cpu").ledger.client.flushall()
    head = jdq.trained("table", "--param", "C=0.5", "--seed", "3")
    result = jdq.json("result", head)
    assert result["params"]["C"] == 0.5
    assert result["seed"] == 3


@pytest.mark.parametrize(
    ("arguments", "word", "code"),
    [
        (("--head", "logreg", "--head", "knn"), "--search --head logreg --head knn", 2),
        (("--search", "--param", "C=1"), "leave out --param", 2),
        (("--search=many",), "try: --search=50", 2),
        (("--search=0",), "try: --search=50", 2),
        (("--head", "logregg"), "logreg", 2),
        (("--param", "C"), "C", 2),
        (("--space", "0" * 12), "0" * 12, 4),
        (("--label-column", "nope"), "nope", 2),
        (("--param", "c=1"), "auto has no parameter c; it has: C, scaling, max_iter", 2),
        (("--head", "knn", "--param", "n_neighbors=0"), "must be a whole number of at least 1, not 0", 2),
        (("--param", "C=-1"), "must be a number above 0, not -1", 2),
        (("--head", "logreg", "--param", "scale=yes"), "must be true or false, not 'yes'", 2),
        (("--search", "--metric", "f2"), "no metric 'f2'; there are: accuracy", 2),
        (("--version", "f" * 12), "try: jdq", 4),
    ],
)
def test_what_a_head_cannot_be_asked_for_is_said(
    jdq: CommandLine, arguments: tuple[str, ...], word: str, code: int
) -> None:
    jdq.extracted()
    assert word in jdq.run("submit", "train-head", "table", *arguments, code=code).stderr
    assert len(jdq.json("jobs")) == 1


def test_one_class_only_trains_no_head(jdq: CommandLine) -> None:
    content = "text,label,kind\n" + "".join(f"text {n},{'ab'[n % 2]},same\n" for n in range(10))
    jdq.extracted(content)
    assert "one class only: 'same'" in jdq.run("submit", "train-head", "--label-column", "kind", code=2).stderr


def test_rows_without_a_label_are_counted_when_a_head_is_submitted(jdq: CommandLine) -> None:
    file = jdq.file(TABLE + "no label here,\n")
    job = jdq.submit("extract", file, "--encoder", "hash:16", "--missing-labels", "keep")
    jdq.workplace.worked(job)
    assert "warning: 1 of 41 rows have no label" in jdq.run("submit", "train-head").stderr


def test_a_search_keeps_the_best_head(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.submit("train-head", "--search=2", "--head", "logreg", "--head", "knn", "--metric", "accuracy")
    jdq.workplace.worked(head)
    result = jdq.json("result", head)
    assert len(result["search"]["trials"]) == 2
    assert result["search"]["metric"] == "accuracy"
    assert "the best of 2 trials: accuracy" in jdq.run("result", head).stdout


def test_predictions_are_written_beside_the_files_columns(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    new = jdq.file("id,text\n7,text number 3 of b\n9,something else\n", "new.csv")
    job = jdq.submit("predict", new, "--head", head)
    jdq.workplace.worked(job)
    assert f"jdq result {job} --to out.csv" in jdq.run("result", job).stderr
    target = jdq.workplace.folder / "out.csv"
    jdq.run("result", job, "--to", str(target))
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


def test_cells_that_a_spreadsheet_would_run_stay_as_they_are_unless_asked(jdq: CommandLine) -> None:
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


def test_an_encoder_that_is_a_folder_is_found_by_workers_elsewhere(
    jdq: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(jdq.workplace.folder)
    Path("my-encoder").mkdir()
    Path("my-encoder/config.json").write_text("{}")
    job = jdq.submit("extract", jdq.file(), "--encoder", "my-encoder")
    assert jdq.json("status", job)["spec"]["encoder"] == str(jdq.workplace.folder / "my-encoder")


def test_settings_come_from_the_environment_then_the_file_then_the_defaults(jdq: CommandLine) -> None:
    home = jdq.workplace.folder / "home"
    home.mkdir()
    (home / "config.toml").write_text('encoder = "hash:4"\nprecision = "float32"\n')
    job = jdq.submit("extract", jdq.file())
    spec = jdq.json("status", job)["spec"]
    assert (spec["encoder"], spec["precision"]) == ("hash:4", "float32")
    configured = CommandLine(jdq.workplace, {"JDQ_ENCODER": "hash:32"})
    assert configured.json("status", configured.submit("extract", jdq.file()))["spec"]["encoder"] == "hash:32"
    overridden = configured.submit("extract", jdq.file(), "--encoder", "hash:2", "--max-length", "12")
    spec = configured.json("status", overridden)["spec"]
    assert (spec["encoder"], spec["max_length"]) == ("hash:2", 12)


def test_several_poolings_are_a_list_and_an_unknown_one_is_refused_before_the_job(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:4", "--pooling", "cls,mean")
    assert jdq.json("status", job)["spec"]["pooling"] == ["cls", "mean"]
    default = jdq.submit("extract", jdq.file(), "--encoder", "hash:4")
    assert jdq.json("status", default)["spec"]["pooling"] == ["auto"]
    before = len(jdq.json("jobs"))
    refused = jdq.run("submit", "extract", jdq.file(), "--pooling", "cls,max", code=2)
    assert "no pooling 'max'; choose from: auto, cls, mean" in refused.stderr
    assert len(jdq.json("jobs")) == before


def heartbeat(jdq: CommandLine, name: str, queue: Queue, **says: object) -> None:
    """A worker that lives, and what it says about itself."""
    described = {"queue": queue, "version": version("jdq"), "protocol": PROTOCOL} | says
    jdq.workplace.runtime(queue, name).ledger.heartbeat(described)


def test_workers_of_another_package_version_are_one_warning(jdq: CommandLine) -> None:
    heartbeat(jdq, "a", "gpu", version="0.0.1")
    heartbeat(jdq, "b", "cpu", version="0.0.1")
    heartbeat(jdq, "c", "cpu")
    found = jdq.run("submit", "extract", jdq.file(), "--encoder", "hash:16")
    warnings = [line for line in found.stderr.splitlines() if line.startswith("warning:")]
    assert warnings == [f"warning: workers run jdq 0.0.1, this is {version('jdq')}; see jdq workers"]
    assert "0.0.1" in jdq.run("workers").stdout


def test_nothing_is_submitted_while_a_worker_with_another_protocol_lives(jdq: CommandLine) -> None:
    heartbeat(jdq, "a", "gpu")
    heartbeat(jdq, "new", "cpu", version="9.1", protocol=9)
    found = jdq.run("submit", "extract", jdq.file(), "--encoder", "hash:16", code=2)
    assert "worker new-cpu cannot take jobs of this jdq: it is 9.1 with protocol 9" in found.stderr
    assert "try: pip install jdq==9.1 here" in found.stderr
    assert jdq.json("jobs") == []
    assert f"new-cpu has protocol 9, this jdq {PROTOCOL}" in jdq.run("workers").stdout
    jdq.workplace.client.zadd("jdq:workers:seen", {"new-cpu": 0})  # it has died
    jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
