"""Imports that fail, are interrupted or race: a complete version or none, and nothing left behind."""

import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from jdq.store.datasets import Datasets
from jdq.store.datasets.importing import publish_folder
from jdq.store.table import TableError
from tests.store.dataset_tables import write
from tests.waiting import until

IMPORT = """
import sys
from pathlib import Path
from jdq.store.datasets import Datasets
{before}
version = Datasets(Path(sys.argv[1])).import_table(sys.argv[2])
print(version.version)
"""


def command(store: Path, file: Path, before: str = "") -> list[str]:
    return [sys.executable, "-c", IMPORT.format(before=before), str(store), str(file)]


@pytest.mark.parametrize(
    "text", ["text,label\na,1\n,2\n", "text,label\na,1\nb,1\n", 'text,label\na,"1\n', "text,label\na\n", "text,label\n"]
)
def test_a_bad_table_leaves_nothing_behind(tmp_path: Path, store: Path, text: str) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(TableError):
        Datasets(store).import_table(tmp_path / "data.csv")
    assert not store.exists() or list((store / "datasets").iterdir()) == []


def test_an_interrupted_import_leaves_nothing_behind(tmp_path: Path, store: Path) -> None:
    def interrupt(rows: int) -> None:
        if rows > 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Datasets(store).import_table(write(tmp_path, 5000), after_block=interrupt)
    assert list((store / "datasets").iterdir()) == []


@pytest.mark.parametrize("limit", [1_000, 40_000, 90_000])
def test_a_full_disk_is_an_error_and_leaves_nothing_behind(tmp_path: Path, store: Path, limit: int) -> None:
    """RLIMIT_FSIZE refuses writes as a full disk does; keys.npy of 5,000 rows has 80,128 bytes."""
    before = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    )
    done = subprocess.run(command(store, write(tmp_path, 5000), before), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "OSError: [Errno 27] File too large" in done.stderr.splitlines()[-1]
    assert list((store / "datasets").iterdir()) == []


def writes_or_ended(store: Path, child: subprocess.Popen[bytes]) -> bool:
    return any(store.glob("datasets/.importing-*")) or child.poll() is not None


def test_a_killed_import_is_not_seen_and_does_not_stop_the_next(tmp_path: Path, store: Path) -> None:
    file = write(tmp_path, 60_000)
    rng = random.Random(3)
    for _ in range(5):
        child = subprocess.Popen(command(store, file), stdout=subprocess.DEVNULL)
        until(partial(writes_or_ended, store, child))
        time.sleep(rng.random() * 0.15)  # a kill at any moment of the import
        child.send_signal(signal.SIGKILL)
        child.wait()
        for version in Datasets(store).list():
            assert version.verify() == []
            assert version.n_rows == 60_000
    assert list(store.glob("datasets/.importing-*")), "no import was killed in its middle"
    version = Datasets(store).import_table(file)
    assert version.verify() == []
    assert len(Datasets(store).list()) == 1


def test_racing_imports_of_one_table_make_one_version(tmp_path: Path, store: Path) -> None:
    file = write(tmp_path, 3000)
    children = [subprocess.Popen(command(store, file), stdout=subprocess.PIPE, text=True) for _ in range(4)]
    versions = {child.communicate()[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert versions == {Datasets(store).get("data").version}
    assert len(list((store / "datasets").iterdir())) == 1


def test_the_second_import_of_a_table_to_get_its_name_is_not_needed(tmp_path: Path) -> None:
    partial, target = tmp_path / "partial", tmp_path / "data" / "0123456789ab"
    partial.mkdir()
    assert publish_folder(partial, target)
    (target / "first").touch()
    partial.mkdir()
    (partial / "second").touch()
    assert not publish_folder(partial, target)
    assert [path.name for path in target.iterdir()] == ["first"]


def test_a_folder_that_cannot_get_its_name_for_another_reason_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "target").touch()
    with pytest.raises(NotADirectoryError):
        publish_folder(tmp_path / "partial", tmp_path / "target")
