"""The client starts fast and alone: no torch, no transformers, nothing of the workers' packages."""

from __future__ import annotations

import subprocess
import sys

import click

from jdq.cli.main import cli

HEAVY = {"torch", "transformers", "datasets", "sklearn", "accelerate", "skops"}


def imported_by(*modules: str) -> set[str]:
    code = f"import sys; {'; '.join(f'import {m}' for m in modules)}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in out.split()}


def test_the_help_needs_click_alone() -> None:
    assert not imported_by("jdq.cli.main") & (HEAVY | {"celery", "redis", "pandas", "numpy", "h5py", "pyarrow", "rich"})


def test_nothing_that_the_client_uses_imports_the_workers_packages() -> None:
    used = [
        "jdq.cli.main",
        "jdq.store.store",
        "jdq.store.datasets",
        "jdq.worker.queue.jobbook",
        "jdq.worker.queue.tickets",
    ]
    assert not imported_by(*used, "jdq.worker.queue.contract", "jdq.worker.queue.celery_app") & HEAVY


def commands(group: click.Group, path: str = "jdq") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        found.append((f"{path} {name}", command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
    return found


def test_every_command_and_option_says_what_it_does() -> None:
    for path, command in commands(cli):
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.opts[0]}"
