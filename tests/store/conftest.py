"""The folder of a store, and the error of a table that cannot be used."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jdq.store.files import digests
from jdq.store.table import TableError, TableOptions, open_table

Failing = Callable[..., str]


def error_of(file: Path, options: TableOptions | None = None) -> str:
    """The message of the error that reading this file ends with."""
    with pytest.raises(TableError) as caught:
        for _ in open_table(file, options).blocks():
            pass
    return str(caught.value)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a store that nobody has made yet."""
    return tmp_path / "store"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the file system of `tmp_path` count as one that other machines write to."""
    if sys.platform != "linux":
        pytest.skip("other systems have another statfs")
    kind = subprocess.run(["stat", "-f", "-c", "%t", tmp_path], capture_output=True, check=True).stdout
    monkeypatch.setattr(digests, "SHARED", {int(kind, 16)})


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Writes data.csv and gives the message of the error that reading it ends with."""
    monkeypatch.chdir(tmp_path)

    def message(content: str | bytes, options: TableOptions | None = None, name: str = "data.csv") -> str:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return error_of(Path(name), options)

    return message
