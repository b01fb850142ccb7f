"""`hf:OWNER/NAME`: datasets of the Hugging Face hub. No hub can be reached: folders and the cache take its place."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine

pytest.importorskip("datasets")


@pytest.fixture
def folder(jdq: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of a dataset on the hub, with two splits, in the working folder."""
    jdq.settings.update(HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("text,label\na,x\nb,y\n")
    (folder / "test.csv").write_text("text,label\nc,x\n")
    return folder


def test_its_splits_are_one_dataset_that_says_where_each_row_is_from(jdq: CommandLine, folder: Path) -> None:
    name, _ = jdq.run("import", "hf:org/name").stdout.split()
    version = jdq.workplace.store.datasets.get(name)
    assert (name, version.columns) == ("name", ("text", "label", "file"))
    assert version.texts() == ["a", "b", "c"]
    assert version.cells("file") == ["name-train.arrow", "name-train.arrow", "name-test.arrow"]


def test_what_was_downloaded_once_needs_no_network(jdq: CommandLine, folder: Path) -> None:
    jdq.run("import", "hf:org/name", "--name", "first")
    shutil.rmtree(folder)
    cache = Path(jdq.settings["HF_HOME"]) / "datasets"
    (cache / "name").rename(cache / "org___name")  # what the cache is called after a download
    found = jdq.json("submit", "extract", "hf:org/name", "--encoder", "hash:16", "--dry-run")
    assert (found["rows"], found["extraction"]["to_compute"]) == (3, 3)


def test_without_a_network_the_error_says_so(jdq: CommandLine, folder: Path) -> None:
    error = jdq.run_to_any_end("import", "hf:org/other")
    assert error.exit_code == 2
    assert jdq.workplace.store.datasets.names() == []


def test_without_the_package_the_error_names_it(jdq: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdq.cli.programs.missing_packages", lambda names: list(names))
    error = jdq.run("import", "hf:org/name", code=2).stderr
    assert "this needs datasets\n  try: pip install 'jdq[hub]'" in error
