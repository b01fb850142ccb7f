"""Running a program of the worker part in a process of its own: the client itself imports no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import click

from jdq.cli.exits import Exit


def run_program(module: str, arguments: Sequence[str]) -> None:
    """Runs ``python -m module`` with this process's input and output; ends the command with its exit code."""
    finished = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def require_worker_packages() -> None:
    """Ends the command with what to install where torch and transformers are missing."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        click.echo(f"jdq: this needs {' and '.join(missing)}\n  try: pip install 'jdq[worker]'", err=True)
        sys.exit(Exit.BAD_INPUT)
