"""A compose project of a test's own, driven by the same commands that a user types."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.waiting import until

PROJECT = Path(__file__).parent.parent.parent
CPU_FILES = ("compose.yaml", "docker/compose.cpu.yaml")
T = TypeVar("T")


def engine_answers() -> bool:
    """Whether a Docker engine and a compose are at hand."""
    return shutil.which("docker") is not None and compose_command() is not None and _succeeds("docker", "info")


def compose_command() -> list[str] | None:
    """Compose v2 as a plugin, else docker-compose 1.29; None where there is neither."""
    if shutil.which("docker") and _succeeds("docker", "compose", "version"):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def clean_environment() -> dict[str, str]:
    """This process's environment without what would change what compose reads from the project's files."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("JDQ_", "COMPOSE_", "HF_"))}


def docker(*arguments: str, check: bool = True) -> str:
    """What a docker command prints."""
    return _run(["docker", *arguments], check=check).stdout


class Stack:
    """One compose project: its settings are in an env file in `folder`, as a user's are in .env."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str], files: Sequence[str] = CPU_FILES) -> None:
        self.name = name
        self._env_file = folder / f"{name}.env"
        self._env_file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        self._files = files

    @property
    def command(self) -> list[str]:
        """Compose, for this project."""
        command = compose_command()
        assert command is not None
        files = [part for file in self._files for part in ("-f", file)]
        return [*command, "--env-file", str(self._env_file), "-p", self.name, *files]

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs compose on this project."""
        return _run([*self.command, *arguments], check=check)

    def typed(self, script: str, *, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the commands of the documentation in a folder, with this project's compose for `docker compose`."""
        program, *options = self.command
        compose = f'cd "{PROJECT}" && exec {shutil.which(program)} {shlex.join(options)} "$@"'
        (folder / "bin").mkdir(exist_ok=True)
        # docker-compose 1.29 itself calls docker.
        others = f'[ "$1" = compose ] || exec {shutil.which("docker")} "$@"'
        (folder / "bin" / "docker").write_text(f"#!/bin/sh\n{others}\nshift\n{compose}\n", encoding="utf-8")
        (folder / "bin" / "docker").chmod(0o755)
        path = f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return _run(["sh", "-ec", script], check=True, cwd=folder, **environment, PATH=path)

    def jdq(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the client as a user does: in a container of its own."""
        return self.compose("run", "--rm", "-T", "jdq", *arguments, check=check)

    def submit(self, *arguments: str) -> str:
        """Submits a job; its id."""
        return self.jdq("submit", *arguments).stdout.split()[-1]

    def ask(self, *arguments: str) -> Any:
        """The JSON answer of a reading command, asked in the CPU worker's container: that is faster."""
        return json.loads(self.compose("exec", "-T", "cpu-worker", "jdq", *arguments, "--json").stdout)

    def succeeded(self, job: str, *, within_s: float) -> dict[str, Any]:
        """The job's result, once it has succeeded."""

        def ended() -> dict[str, Any] | None:
            status: dict[str, Any] = self.ask("status", job)
            return status if status["state"] in ("succeeded", "failed", "cancelled") else None

        status = until(ended, within_s=within_s, why=f"{job} ends")
        assert status["state"] == "succeeded", status
        result: dict[str, Any] = self.ask("result", job)
        return result

    def logs(self, service: str) -> list[str]:
        """The lines that the service's containers wrote."""
        finished = _run(["docker", "logs", self.container(service)], check=True)
        return [*finished.stdout.splitlines(), *finished.stderr.splitlines()]

    def busy(self, service: str) -> list[str]:
        """The container ids of the service's workers that work on a chunk just now."""
        names = [worker["name"] for worker in self.ask("workers") if worker["state"] == "busy"]
        return [name.removeprefix(f"{service}-").partition("@")[0] for name in names if name.startswith(service)]

    def container(self, service: str) -> str:
        """The id of the service's first container."""
        return self.compose("ps", "-q", service).stdout.split()[0]

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of the service's first container."""
        found: dict[str, Any] = json.loads(docker("inspect", self.container(service)))[0]
        return found

    def up(self, *arguments: str, gpu_workers: int = 1) -> None:
        """Starts what is not running."""
        self.compose("up", "-d", "--no-build", "--scale", f"gpu-worker={gpu_workers}", *arguments)

    def remove(self) -> None:
        """Ends the project, and everything that it made but images."""
        # Of all profiles: down leaves what belongs to one that is not asked for.
        profiles = ("--profile", "client", "--profile", "monitoring", "--profile", "web")
        self.compose(*profiles, "down", "--volumes", "--remove-orphans", "--timeout", "20", check=False)

    def leftovers(self) -> list[str]:
        """Containers, networks and volumes of this project that still exist."""
        label = f"label=com.docker.compose.project={self.name}"
        listings = (("ps", "-aq"), ("network", "ls", "-q"), ("volume", "ls", "-q"))
        return [found for listing in listings for found in docker(*listing, "--filter", label).split()]


def recipe(title: str) -> str:
    """The block of docs/how-to/deploy.md with this title."""
    page = (PROJECT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    [block] = re.findall(rf'^```\w+ title="{title}"\n(.*?)^```', page, re.MULTILINE | re.DOTALL)
    return str(block)


def _run(
    command: list[str], *, check: bool, cwd: Path = PROJECT, **environment: str
) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        command, cwd=cwd, env=clean_environment() | environment, capture_output=True, text=True, check=False
    )
    if check:
        assert finished.returncode == 0, f"{' '.join(command)}\n{finished.stdout[-4000:]}\n{finished.stderr[-8000:]}"
    return finished


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
