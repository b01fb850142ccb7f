"""A real local stack: the command, the supervisor, the server, and Celery workers as processes."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from jdq.cli.main import cli
from tests.waiting import until

JDQ = str(Path(sys.executable).parent / "jdq")


@dataclass(frozen=True)
class Stack:
    """One state folder, and the `jdq` command on it."""

    home: Path
    settings: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JDQ_")}
        return {**kept, "JDQ_HOME": str(self.home), **self.settings}

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The finished command, which must end with this exit code."""
        finished = subprocess.run(
            [JDQ, *arguments], env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert finished.returncode == code, f"{arguments}: {finished.returncode}\n{finished.stdout}\n{finished.stderr}"
        return finished

    def json(self, *arguments: str) -> Any:
        """What the command prints with --json, run in this process: tests call it often while they wait."""
        others = dict.fromkeys(name for name in os.environ if name.startswith("JDQ_"))
        environment = {**others, "JDQ_HOME": str(self.home), **self.settings}
        found = CliRunner().invoke(cli, [*arguments, "--json"], env=environment)
        assert found.exit_code == 0, f"{arguments}: {found.exit_code}\n{found.output}\n{found.exception!r}"
        return json.loads(found.stdout)


def computing(worker: psutil.Process) -> list[psutil.Process]:
    """The processes that compute for a worker: those that Celery spawned, not its semaphore tracker."""
    titles = ("spawn_main", "PoolWorker")  # the second where setproctitle is installed
    return [child for child in worker.children() if any(title in " ".join(child.cmdline()) for title in titles)]


def gpu_workers_of(stack: Stack, job: str) -> list[str]:
    """Those that hold chunks of the job, once there are some: a CPU worker holds its plan before, and then nobody."""
    return until(lambda: [name for name in stack.json("status", job)["workers"] if name.startswith("gpu-")])


def stack_in(folder: str, **settings: str) -> Stack:
    """A stack with its home in a folder whose path is short: the socket is there, too."""
    runtime = Path(folder) / "run"
    runtime.mkdir(mode=0o700)
    return Stack(Path(folder) / "home", {"XDG_RUNTIME_DIR": str(runtime), **settings})


# Its workers' encoder `hash:` obeys the fault words in a text.
FAULTY = {"PYTHONPATH": str(Path(__file__).parent.parent / "faulty")}
# The shortest lease that the heartbeat allows: a killed worker's chunk is reassigned soon.
SHORT = FAULTY | {"JDQ_LEASE_S": "3", "JDQ_HEARTBEAT_S": "0.5", "JDQ_RECLAIM_S": "1", "JDQ_CHUNK_TOKENS": "1000"}


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Not started; whatever the test starts is stopped."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        stack = stack_in(folder, **SHORT)
        yield stack
        stack.run("down")


@pytest.fixture(scope="module")
def rough_stack() -> Iterator[Stack]:
    """Started once per file of tests that kill its workers, which are restarted."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        stack = stack_in(folder, **SHORT)
        stack.run("up")
        yield stack
        stack.run("down")


@pytest.fixture(scope="session")
def shared_stack() -> Iterator[Stack]:
    """Started once for the tests that do not change it."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        stack = stack_in(folder)
        stack.run("up")
        yield stack
        stack.run("down")
