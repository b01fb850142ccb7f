"""Every command opens the store that the configuration names, here by `store` in config.toml."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jdq.cli.main import cli
from jdq.store import open_store
from jdq.store.trained import Heads, Models
from tests.store.fake_datasets import write_store
from tests.store.fake_features import sentences

HEAD, MODEL = "train-head-abcd2345", "fine-tune-abcd2345"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a dataset, a head and a model that cannot be read, which only config.toml names."""
    for name in ("JDQ_STORE", "JDQ_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JDQ_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(f'store = "{tmp_path / "elsewhere"}"')
    store, _, _ = write_store(tmp_path / "elsewhere", sentences(30))
    Heads(store.root).place(HEAD).parent.mkdir()
    Heads(store.root).place(HEAD).write_bytes(b"damaged")
    Models(store.root).place(MODEL).mkdir(parents=True)
    return store.root


def run(*arguments: str, code: int = 0) -> Result:
    ran = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert ran.exit_code == code, ran.output
    return ran


def printed(*arguments: str, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout)


def test_open_store_and_the_store_commands_see_it(root: Path, tmp_path: Path) -> None:
    assert open_store().root == root
    assert printed("store", "ls")["root"] == str(root)
    assert printed("store", "show", "posts")["rows"] == 30
    assert printed("store", "verify", code=1)["datasets"] == 1  # the head and the model are damaged
    assert len(printed("store", "compact")) == 1
    assert printed("store", "gc")["dry_run"] is False
    run("store", "export", "posts", "--to", str(tmp_path / "posts.npz"))
    assert len(printed("store", "rm", "posts")["versions"]) == 1


def test_the_commands_on_heads_and_models_see_it(root: Path) -> None:
    for kind, job in (("heads", HEAD), ("models", MODEL)):
        assert str(root) in run(kind, "ls").stderr
        assert str(root) in run(kind, "show", job, code=2).stderr
        run(kind, "rm", job)
        assert job not in run(kind, "ls").stderr
    assert "no head and no fine-tune of dataset posts" in run("compare", "posts", code=2).stderr


def test_the_programs_see_it(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("predict", "text", "--head", HEAD, code=2)
    run("predict", "text", "--model", MODEL, code=2)
    assert "no head and no fine-tune of dataset posts" in run("report", "posts", code=2).stderr
    shown = capfd.readouterr().err
    assert str(root / "heads") in shown
    assert str(root / "models") in shown
