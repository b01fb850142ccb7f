"""The kind of job that docs/how-to/add-a-job-kind.md adds works, in a copy of the sources."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.generate import DOCS, PROJECT
from tests.redis_server import RedisServer
from tests.store.fake_datasets import write_store
from tests.store.fake_features import sentences

BLOCK = re.compile(r'^```(python|diff) title="(.+?)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# One worker's time slice on the job whose id is given.
WORK = """
import sys
from jdq.worker.config import read_config
from jdq.worker.jobs import work_for
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.runtime import Runtime

runtime = Runtime(read_config(), worker="test", queue="cpu")
ChunkLoop(
    runtime.ledger, sys.argv[1], work_for=lambda lease: work_for(lease, runtime), send=lambda orders: None,
    time_slice_s=60, heartbeat_s=1, stall_s=60, on_cpu=True,
).run()
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The three source folders with the page's files and changes."""
    for part in ("cli", "worker", "store"):
        shutil.copytree(PROJECT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    touched = set()
    for language, name, text in BLOCK.findall((DOCS / "how-to" / "add-a-job-kind.md").read_text(encoding="utf-8")):
        path = tmp_path / name
        if language == "diff":
            change(path, text.splitlines(keepends=True))
        else:
            assert not path.exists()
            path.write_text(text, encoding="utf-8")
        touched.add(name)
    assert len(touched) <= 4
    return tmp_path


def change(path: Path, lines: list[str]) -> None:
    """Replaces the diff's old lines, which must be in the file once, by its new ones."""
    before, after = ("".join(line[1:] or "\n" for line in lines if line[0] not in skipped) for skipped in "+-")
    source = path.read_text(encoding="utf-8")
    assert source.count(before) == 1, f"{path.name} has not these lines once:\n{before}"
    path.write_text(source.replace(before, after), encoding="utf-8")


def test_the_documented_kind_of_job_is_submitted_worked_on_and_has_a_result(sources: Path, server: RedisServer) -> None:
    server.client().flushall()
    write_store(sources / "data", [*sentences(5), *sentences(3)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JDQ_")} | {
        "PYTHONPATH": os.pathsep.join(str(sources / part) for part in ("cli", "worker", "store")),
        "JDQ_HOME": str(sources / "home"),
        "JDQ_STORE": str(sources / "data"),
        "JDQ_BROKER_URL": server.url,
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    assert run("-c", "import jdq.worker; print(jdq.worker.__file__)").startswith(str(sources))
    job = run("-m", "jdq.cli", "submit", "count-repeats", "posts").strip()
    run("-c", WORK, job)
    assert json.loads(run("-m", "jdq.cli", "result", job))["repeats"] == 3
