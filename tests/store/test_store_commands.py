"""`jdq store`: exit codes, what is printed, and that stdout is only the result."""

import json
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

from jdq.cli.output import size
from jdq.cli.store import store
from jdq.store import open_store
from jdq.store.errors import NotExtracted, StoreFormatError
from tests.store.fake_datasets import import_texts, write_store
from tests.store.fake_features import sentences


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JDQ_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(store, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_ls_leaves_out_tables_that_were_imported_only_for_predictions(root: Path) -> None:
    found, *_ = write_store(root, sentences(4))
    assert "left out" not in run("ls").stderr
    import_texts(found, sentences(2), name="predict-new")
    assert "1 table imported only for predictions not listed; to list all: jdq store ls --all" in run("ls").stderr
    import_texts(found, sentences(3), name="evaluate-new")
    listed = run("ls")
    assert "predict-new" not in listed.stdout
    assert "2 tables imported only for predictions not listed" in listed.stderr
    assert json.loads(run("ls", "--json").stdout)["left_out"] == 2
    everything = run("ls", "--all")
    assert "predict-new" in everything.stdout
    assert "evaluate-new" in everything.stdout
    assert everything.stderr == ""


def test_ls_of_a_store_with_such_tables_only_does_not_call_it_empty(root: Path) -> None:
    import_texts(open_store(), sentences(2), name="predict-new")
    assert "empty" not in run("ls").stderr


def test_ls_lists_datasets_and_spaces(root: Path) -> None:
    found, version, space = write_store(root, sentences(300))
    import_texts(found, sentences(2), name="other")
    space.shard_path(space.shard_names()[0]).unlink()
    listed = json.loads(run("ls", "--json").stdout)
    posts = next(dataset for dataset in listed["datasets"] if dataset["dataset"] == "posts")
    assert (posts["version"], posts["rows"], posts["label_column"]) == (version.version, 300, "label")
    assert posts["classes"] == {"c0": 100, "c1": 100, "c2": 100}
    assert posts["extracted"] == [{"space": space.digest, "encoder": "fake", "missing": 100}]
    (listed_space,) = listed["spaces"]
    assert (listed_space["space"], listed_space["encoder"], listed_space["dim"]) == (space.digest, "fake", 8)
    assert (listed_space["rows"], listed_space["shards"]) == (200, 2)
    text = run("ls").stdout
    assert f"{space.digest[:12]} 100 missing" in text
    assert "none" in text


def test_show_describes_a_dataset_or_a_space(root: Path) -> None:
    _, version, space = write_store(root, sentences(10))
    assert json.loads(run("show", "posts", "--json").stdout)["version"] == version.version
    assert f"space {space.digest}, encoder fake, missing 0" in run("show", "posts").stdout
    assert json.loads(run("show", space.digest[:6], "--json").stdout)["definition"]["dim"] == 8
    assert "rows: 10" in run("show", space.digest[:6]).stdout


def test_verify_exits_with_1_where_something_is_damaged(root: Path) -> None:
    _, _, space = write_store(root, sentences(300))
    assert run("verify").stdout.startswith("sound: 1 feature space, 3 shards, 300 rows")
    path = space.shard_path(space.shard_names()[0])
    path.write_bytes(path.read_bytes()[:5000])
    run("verify", "--quick", code=1)
    report = json.loads(run("verify", "--repair", "--json", code=1).stdout)
    assert report["sound"] is False
    assert report["findings"][0]["repaired"].startswith("moved to")
    assert not path.exists()


def test_compact_then_gc_leaves_one_shard(root: Path) -> None:
    _, _, space = write_store(root, sentences(300))
    assert "3 shards merged into 1, 300 rows" in run("compact").stdout
    assert json.loads(run("gc", "--json").stdout)["waiting"] == 3
    assert len(json.loads(run("gc", "--dry-run", "--older-than", "0", "--json").stdout)["replaced"]) == 3
    assert run("gc", "--older-than", "0").stdout.count("replaced: ") == 3
    assert len(space.shard_names()) == 1
    run("verify")


def test_export_prints_only_the_path(root: Path, tmp_path: Path) -> None:
    write_store(root, sentences(300))
    assert run("export", "posts", "--to", str(tmp_path / "o.h5")).stdout == f"{tmp_path / 'o.h5'}\n"
    with h5py.File(tmp_path / "o.h5") as file:
        assert len(file["features"]) == 300


def test_rm_removes_the_dataset_and_keeps_its_features(root: Path) -> None:
    found, version, space = write_store(root, sentences(300))
    keys = version.keys().copy()
    assert run("rm", "posts").stdout == f"removed posts {version.version}\n"
    assert found.datasets.names() == []
    assert not space.missing(keys).any()


def test_a_store_that_is_not_there_is_not_made(root: Path) -> None:
    with pytest.raises(StoreFormatError, match="no store at"):
        run("ls")
    assert not root.exists()


def test_a_dataset_without_features_cannot_be_exported(root: Path, tmp_path: Path) -> None:
    import_texts(open_store(root), sentences(3))
    with pytest.raises(NotExtracted, match="has no features yet"):
        run("export", "posts", "--to", str(tmp_path / "o.h5"))


def test_every_command_has_help() -> None:
    for name in store.commands:
        assert len(run(name, "--help").stdout.splitlines()) > 4


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text
