"""`jdq submit extract`: how it reads tables, and which encoders it takes."""

from pathlib import Path

import pytest

from tests.cli.conftest import TABLE, CommandLine


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


@pytest.mark.parametrize(
    ("encoder", "word", "code"),
    [
        ("hash:none", "try: hash:64", 2),
        ("a/b/c", "neither a folder nor a name on the hub", 2),
        ("./nothing", "neither a folder nor a name on the hub", 2),
        ("fine-tune-nonenone", "no model has the id 'fine-tune-nonenone'", 4),
        ("{folder}", "has no config.json", 2),
        ("{folder}/empty", "has no weights", 2),
        ("{folder}/table.csv", "is a file", 2),
    ],
)
def test_an_encoder_that_cannot_be_one_is_refused_before_anything_is_stored(
    jdq: CommandLine, encoder: str, word: str, code: int
) -> None:
    file = jdq.file()
    (jdq.workplace.folder / "empty").mkdir()
    (jdq.workplace.folder / "empty" / "config.json").write_text("{}")
    for command in ("extract", "fine-tune"):
        name = encoder.format(folder=jdq.workplace.folder)
        assert word in jdq.run("submit", command, file, "--encoder", name, code=code).stderr
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


def test_an_encoder_that_is_a_folder_is_found_by_workers_elsewhere(
    jdq: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(jdq.workplace.folder)
    Path("my-encoder").mkdir()
    Path("my-encoder/config.json").write_text("{}")
    Path("my-encoder/model.safetensors").touch()
    job = jdq.submit("extract", jdq.file(), "--encoder", "my-encoder")
    assert jdq.json("status", job)["spec"]["encoder"] == str(jdq.workplace.folder / "my-encoder")


def test_several_poolings_are_a_list_and_an_unknown_one_is_refused_before_the_job(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:4", "--pooling", "cls,mean")
    assert jdq.json("status", job)["spec"]["pooling"] == ["cls", "mean"]
    default = jdq.submit("extract", jdq.file(), "--encoder", "hash:4")
    assert jdq.json("status", default)["spec"]["pooling"] == ["auto"]
    before = len(jdq.json("jobs"))
    refused = jdq.run("submit", "extract", jdq.file(), "--pooling", "cls,max", code=2)
    assert "no pooling 'max'; choose from: auto, cls, mean" in refused.stderr
    assert len(jdq.json("jobs")) == before
