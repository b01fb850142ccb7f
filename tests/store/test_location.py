"""Where the store is, by argument, environment and config.toml."""

from pathlib import Path

import pytest

from jdq.store import StoreError, open_store
from jdq.store.location import jdq_home, store_root
from jdq.worker.config import read_config


def write_config(home: Path, text: str) -> dict[str, str]:
    """A home folder with this config.toml, and the environment that names it."""
    (home / "config.toml").write_text(text)
    return {"JDQ_HOME": str(home)}


def test_the_store_is_named_by_argument_then_environment_then_config_file_then_home(tmp_path: Path) -> None:
    environment = write_config(tmp_path, 'store = "/c"') | {"JDQ_STORE": "/b"}
    assert store_root("/a", environment=environment) == Path("/a")
    assert store_root(environment=environment) == Path("/b")
    del environment["JDQ_STORE"]
    assert store_root(environment=environment) == Path("/c")
    (tmp_path / "config.toml").write_text('encoder = "tiny"')
    assert store_root(environment=environment) == tmp_path / "store"
    (tmp_path / "config.toml").unlink()
    assert store_root(environment=environment) == tmp_path / "store"


def test_the_home_folder_is_dot_jdq_unless_the_environment_names_one(tmp_path: Path) -> None:
    assert jdq_home({}) == Path.home() / ".jdq"
    assert jdq_home({"JDQ_HOME": str(tmp_path)}) == tmp_path


def test_a_tilde_and_a_relative_path_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_root("~/data") == Path.home() / "data"
    assert store_root(environment=write_config(tmp_path, 'store = "data"')) == tmp_path / "data"
    assert jdq_home({"JDQ_HOME": "home"}) == tmp_path / "home"


def test_open_store_and_the_workers_use_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path, f'store = "{tmp_path / "elsewhere"}"')
    monkeypatch.setenv("JDQ_HOME", str(tmp_path))
    monkeypatch.delenv("JDQ_STORE", raising=False)
    assert open_store().root == read_config().store == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("text", "fact"), [("store = ", "cannot be read: Invalid value"), ("store = 3", "store is 3; it must be a path")]
)
def test_a_broken_config_file_is_an_error_that_names_it(tmp_path: Path, text: str, fact: str) -> None:
    environment = write_config(tmp_path, text)
    with pytest.raises(StoreError, match=fact) as raised:
        store_root(environment=environment)
    assert str(raised.value).startswith(str(tmp_path / "config.toml"))
    assert store_root("/a", environment=environment) == Path("/a")
