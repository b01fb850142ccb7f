"""The numbers and limits of workers in .env: what Compose makes of them, without an engine."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.compose.stack import compose_command
from tests.conftest import PROJECT

COMPOSE = compose_command()
needs_compose = pytest.mark.skipif(COMPOSE is None, reason="neither docker compose nor docker-compose on the PATH")


@needs_compose
def test_up_keeps_the_number_of_workers(tmp_path: Path) -> None:
    gpu, cpu = "compose.yaml:compose.override.yaml", "compose.yaml:docker/compose.cpu.yaml"
    for files, settings, replicas in (
        (gpu, {}, {"gpu-worker": "1", "cpu-worker": "2"}),
        (gpu, {"JDQ_GPU_WORKERS": "4"}, {"gpu-worker": "4", "cpu-worker": "2"}),
        (cpu, {"JDQ_GPU_WORKERS": "0", "JDQ_CPU_WORKERS": "3"}, {"gpu-worker": "0", "cpu-worker": "3"}),
    ):
        services = workers(files, settings, tmp_path)
        assert {name: re.findall(r"replicas: (\d+)", service) for name, service in services.items()} == {
            name: [number] for name, number in replicas.items()
        }


@needs_compose
def test_workers_have_limits(tmp_path: Path) -> None:
    for settings, limits in (
        ({}, ["32g", "4096", "/tmp:size=1g"]),
        ({"JDQ_WORKER_MEMORY": "8g", "JDQ_WORKER_TMP": "2g"}, ["8g", "4096", "/tmp:size=2g"]),
    ):
        for service in workers("compose.yaml:docker/compose.cpu.yaml", settings, tmp_path).values():
            memory, pids = (re.findall(rf"{name}_limit: \W?(\w+)", service) for name in ("mem", "pids"))
            tmpfs = re.findall(r"tmpfs:\s+- (\S+)", service)
            assert [*map(_in_bytes, memory), *pids, *tmpfs] == [_in_bytes(limits[0]), *limits[1:]]


def workers(files: str, settings: dict[str, str], folder: Path) -> dict[str, str]:
    """The services of workers as Compose sees them: name -> YAML."""
    (folder / ".env").touch()
    environment = {"PATH": os.environ["PATH"], "COMPOSE_FILE": files, "JDQ_REDIS_PASSWORD": "x", **settings}
    assert COMPOSE is not None
    command = [*COMPOSE, "--env-file", str(folder / ".env"), "config"]
    shown = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^  ([\w-]+-worker):\n(.*?)(?=^  \w|^\w)", shown, re.MULTILINE | re.DOTALL))


def _in_bytes(size: str) -> int:
    """Compose 1.29 shows the size as it was written, v2 in bytes."""
    return int(size) if size.isdigit() else int(size[:-1]) * 2**30
