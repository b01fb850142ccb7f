"""The numbers of workers in .env: what Compose makes of them, without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="no docker-compose on the PATH")
@pytest.mark.parametrize(
    ("files", "settings", "replicas"),
    [
        ("compose.yaml:compose.override.yaml", {}, {"gpu-worker": "1", "cpu-worker": "1"}),
        ("compose.yaml:compose.override.yaml", {"JDQ_GPU_WORKERS": "4"}, {"gpu-worker": "4", "cpu-worker": "1"}),
        (
            "compose.yaml:docker/compose.cpu.yaml",
            {"JDQ_GPU_WORKERS": "0", "JDQ_CPU_WORKERS": "3"},
            {"gpu-worker": "0", "cpu-worker": "3"},
        ),
    ],
)
def test_up_keeps_the_number_of_workers(
    files: str, settings: dict[str, str], replicas: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".env").touch()
    environment = {"PATH": os.environ["PATH"], "COMPOSE_FILE": files, "JDQ_REDIS_PASSWORD": "x", **settings}
    command = ["docker-compose", "--env-file", str(tmp_path / ".env"), "config"]
    shown = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True).stdout
    services = dict(re.findall(r"^  ([\w-]+-worker):\n(.*?)(?=^  \w|^\w)", shown, re.MULTILINE | re.DOTALL))
    found = {name: re.findall(r"replicas: (\d+)", service) for name, service in services.items()}
    assert found == {name: [number] for name, number in replicas.items()}
