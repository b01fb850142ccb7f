"""`jdq worker`, started by anything: here by a fake sbatch, as the documentation says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from jdq.cli.main import cli
from tests.conftest import PROJECT
from tests.stack.conftest import JDQ, Stack
from tests.stack.test_queue import slow
from tests.waiting import until

PAGE = PROJECT / "docs" / "how-to" / "workers.md"


def states(stack: Stack) -> dict[str, str]:
    return {worker["name"].partition("@")[0]: worker["state"] for worker in stack.json("workers")}


def test_a_slurm_job_returns_its_chunks_before_its_time_limit(stack: Stack, tmp_path: Path) -> None:
    [script] = re.findall(r"^```sh\n(#!/bin/bash\n#SBATCH.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file = tmp_path / "jdq-gpu.sbatch"
    file.write_text(script)
    stack.run("up", "--gpu-workers", "0", "--cpu-workers", "1")
    path = f"{Path(JDQ).parent}{os.pathsep}{os.environ['PATH']}"
    environment = stack.environment | {"PATH": path, "FAKE_SLURM": str(tmp_path), "JDQ_DEVICE": "cpu"}
    environment["JDQ_LOG_FORMAT"] = "json"
    sbatch = [sys.executable, str(PROJECT / "tests" / "stack" / "fake_sbatch.py"), str(file)]
    output = (tmp_path / "output").open("w", encoding="utf-8")
    with output, subprocess.Popen(sbatch, env=environment, stdout=output, stderr=output) as slurm:
        until(lambda: states(stack).get("slurm-42") == "idle")
        job = slow(stack, tmp_path)
        (tmp_path / "near-limit").touch()
        assert slurm.wait(120) == 0
    assert (tmp_path / "exit").read_text() == "0"
    _, *lines = (tmp_path / "output").read_text(encoding="utf-8").splitlines()  # after "Submitted batch job 42"
    assert {json.loads(line)["worker"].partition("@")[0] for line in lines} == {"slurm-42"}
    assert "slurm-42" not in states(stack)
    assert {attempt["what"] for attempt in stack.json("status", job)["attempts"]} == {"drain"}
    assert stack.json("status", job)["state"] == "running"  # for the next worker


@pytest.mark.parametrize(
    ("arguments", "events", "ends"),
    [
        (["gpu", "--name", "w"], "", ["-Q", "gpu", "-n", "w@%h"]),
        (["cpu", "--name", "w@host", "--name", "x@y"], "1", ["-Q", "cpu", "-n", "x@y"]),
        (["cpu"], "", ["-Q", "cpu", "-n", f"cpu-{os.getpid()}@%h"]),
    ],
)
def test_the_command_becomes_the_celery_worker(
    arguments: list[str], events: str, ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: became.append([program, *command]))
    result = CliRunner().invoke(cli, ["worker", *arguments], env={"JDQ_TASK_EVENTS": events})
    assert result.exit_code == 0, result.output
    [[program, *command]] = became
    assert program == command[0] == sys.executable
    assert command[command.index("-Q") :][:4] == ends
    assert ("-E" in command) == bool(events)


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda program, command: pytest.fail("Celery starts"))
    result = CliRunner().invoke(cli, ["worker", "gpu"], env={"JDQ_GPUS": "first"})
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("jdq: JDQ_GPUS is 'first'; it must be ")
