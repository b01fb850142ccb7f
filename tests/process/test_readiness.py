"""A worker that cannot work says why and what to do before it takes a job."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jdq.worker.config import read_config
from jdq.worker.process.readiness import NotReady, check_gpu_build, check_readiness, check_server, is_rocm_build
from tests.queue.test_servers import SOUND, Answers


def test_a_store_that_is_not_there_is_made(tmp_path: Path) -> None:
    check_readiness(read_config({"JDQ_HOME": str(tmp_path)}))
    assert (tmp_path / "store").is_dir()
    check_readiness(read_config({"JDQ_HOME": str(tmp_path)}))


def test_a_folder_of_other_files_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(NotReady, match=rf"the store {tmp_path} cannot be used: .*is not a store"):
        check_readiness(read_config({"JDQ_HOME": "/none", "JDQ_STORE": str(tmp_path)}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotReady, match="cannot be used"):
        check_readiness(read_config({"JDQ_HOME": "/none", "JDQ_STORE": str(tmp_path / "file")}))


def test_a_store_of_another_user_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    store.mkdir()
    modes: list[int] = []
    monkeypatch.setattr(os, "access", lambda path, mode: modes.append(mode))  # root may write anywhere
    with pytest.raises(NotReady) as refused:
        check_readiness(read_config({"JDQ_HOME": "/none", "JDQ_STORE": str(store)}))
    me, group = os.getuid(), store.stat().st_gid
    assert str(refused.value) == (
        f"the store {store} belongs to user {me}, group {group}; this worker is user {me} and may not write there\n"
        f"  try: chown -R {me} {store}"
    )
    assert modes == [os.W_OK | os.X_OK]


def test_packages_that_are_missing_are_named(tmp_path: Path) -> None:
    """In a process of its own, which finds no torch and no scikit-learn."""
    program = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Hidden(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name in ('torch', 'sklearn') else super().find_spec(name, path, target)\n"
        "sys.meta_path[:] = [Hidden if finder is PathFinder else finder for finder in sys.meta_path]\n"
        "from jdq.worker.config import read_config\n"
        "from jdq.worker.process.readiness import check_readiness\n"
        "check_readiness(read_config({'JDQ_HOME': sys.argv[1]}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert "NotReady: a worker needs torch, sklearn\n  try: pip install 'jdq[worker]'" in done.stderr
    assert not (tmp_path / "store").exists()


def installed_torch(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """A package torch with this version.py, before any other."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / "torch" / "version.py").write_text(version)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_a_gpu_with_a_pytorch_for_cpus_names_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_torch(tmp_path, monkeypatch, "__version__ = '2.13.0+cpu'\ncuda = None\nhip = None")
    with pytest.raises(NotReady, match=r"(?s)2\.13\.0\+cpu\) is built for CPUs.*whl/cu130.*JDQ_DEVICE=cpu"):
        check_gpu_build()


@pytest.mark.parametrize("version", ["cuda = '13.0'\nhip = None", "cuda = None\nhip = '7.0'"])
def test_a_pytorch_for_gpus_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    installed_torch(tmp_path, monkeypatch, f"__version__ = '2.13.0'\n{version}")
    check_gpu_build()


def test_a_pytorch_that_is_missing_is_reported_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdq.worker.process.readiness.find_spec", lambda name: None)
    check_gpu_build()


@pytest.mark.parametrize(("version", "rocm"), [("hip = '7.0'", True), ("hip = None", False), ("", False)])
def test_a_pytorch_for_amds_gpus_is_recognized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, rocm: bool
) -> None:
    installed_torch(tmp_path, monkeypatch, version)
    assert is_rocm_build() is rocm


def served_by(monkeypatch: pytest.MonkeyPatch, **info: object) -> None:
    """Every URL is that of a server that says this about itself."""
    monkeypatch.setattr("jdq.worker.process.readiness.connect", lambda config: Answers(**SOUND | info))


def test_a_server_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    served_by(monkeypatch, redis_version="5.0.7")
    with pytest.raises(NotReady, match=r"^the Redis server is version 5\.0\.7; jdq needs 6\.2 or newer$"):
        check_server(read_config({"JDQ_HOME": "/none"}))


def test_a_server_that_may_lose_jobs_is_warned_of_and_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served_by(monkeypatch, aof_enabled=0)
    with caplog.at_level(logging.WARNING):
        check_server(read_config({"JDQ_HOME": "/none"}))
    assert caplog.messages == [
        "the Redis server forgets jobs when it ends: its append-only file is off (appendonly yes)"
    ]


def test_a_server_that_is_away_is_waited_for_later(caplog: pytest.LogCaptureFixture) -> None:
    check_server(read_config({"JDQ_HOME": "/none", "JDQ_BROKER_URL": "redis+socket:///nonexistent/r.sock"}))
    assert caplog.messages == []
