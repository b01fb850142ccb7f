"""`make upgrade` in the middle of a job, from a copy of the project with another version."""

import json
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.conftest import REPEATED, SOME_ROWS, VERSION
from tests.compose.stack import CPU_FILES, PROJECT, Stack, clean_environment, docker
from tests.compose.test_jobs import status_when
from tests.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.slow]
NEW, TAG = "99.0.0", "upgraded"
IMAGES = ("redis", "client", "monitoring", "worker-cpu")


@pytest.fixture(scope="module")
def old(stack: Stack, settings: dict[str, str], folder: Path) -> Iterator[Stack]:
    """A stack of its own with two gpu workers, whose images may be replaced; `stack` has made the model."""
    for name in IMAGES:
        docker("tag", f"jdq-{name}:{VERSION}", f"jdq-{name}:{TAG}")
    own = {"JDQ_VERSION": TAG, "JDQ_GPU_WORKERS": "2", "JDQ_HOST": "upgraded-host"}
    old = Stack(f"jdq-test-{secrets.token_hex(4)}", folder, settings | own, CPU_FILES)
    try:
        old.compose("up", "-d", "--no-build", "redis", "gpu-worker", "cpu-worker")
        yield old
    finally:
        old.remove()
        assert old.leftovers() == []
        for name in IMAGES:
            docker("rmi", "--no-prune", f"jdq-{name}:{TAG}", f"jdq-{name}:{NEW}", check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's files, of another version."""
    copy = tmp_path / "project"
    for name in subprocess.check_output(["git", "ls-files"], cwd=PROJECT, text=True).splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, copy / name)
    for wheel in (PROJECT / "docker" / "wheels").glob("*.whl"):
        shutil.copy2(wheel, copy / "docker" / "wheels" / wheel.name)
    pyproject = copy / "pyproject.toml"
    pyproject.write_text(re.sub(r'(?m)^version = ".*"', f'version = "{NEW}"', pyproject.read_text(encoding="utf-8")))
    return copy


def containers(stack: Stack) -> list[str]:
    return stack.compose("ps", "-q", "gpu-worker").stdout.split()


def test_up_keeps_the_fleet_at_the_size_of_the_env_file(old: Stack) -> None:
    assert len(containers(old)) == 2
    old.compose("up", "-d", "--no-build", "--scale", "gpu-worker=3", "redis", "gpu-worker", "cpu-worker")
    assert len(containers(old)) == 3
    old.compose("up", "-d", "--no-build", "redis", "gpu-worker", "cpu-worker")
    assert len(containers(old)) == 2


def test_an_upgrade_lets_chunks_finish_and_replaces_all_images(old: Stack, project: Path) -> None:
    def at_work() -> bool:
        return [worker["state"] for worker in old.ask("workers") if worker["queue"] == "gpu"] == ["idle"] * 2

    until(at_work, within_s=90, why="both gpu workers are ready")
    job = old.submit("extract", "/data/some.csv")
    status_when(old, job, chunks_done=2)
    before = containers(old)
    done = subprocess.run(
        [str(project / "docker" / "upgrade")],
        env=clean_environment() | {"COMPOSE": shlex.join(old.command)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    shown = done.stdout.splitlines()
    assert f"jdq, version {NEW}" in shown
    assert len([line for line in shown if line.endswith(f"@upgraded-host {NEW}")]) == 4
    for name in IMAGES:
        same = [json.loads(docker("image", "inspect", f"jdq-{name}:{tag}"))[0]["Id"] for tag in (TAG, NEW)]
        assert same[0] == same[1]
    assert not set(before) & set(containers(old))
    assert len(containers(old)) == 2
    status = old.ask("status", job)
    assert status["attempts"] == [], "no chunk was interrupted"
    assert old.succeeded(job, within_s=800)["computed"] == SOME_ROWS - REPEATED
    assert "none was drained" in old.jdq("workers", "resume", "--all").stderr
