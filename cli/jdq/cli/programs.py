"""Running a program of the workers in a process of its own: the client itself imports no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from jdq.cli.client import BadRequest

WORKER_PACKAGES = ("torch", "transformers")


def run_program(module: str, arguments: Sequence[str]) -> None:
    """Runs ``python -m module`` with this process's input and output; exits with its exit code unless that is 0."""
    finished = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def output_of_program(module: str, arguments: Sequence[str]) -> bytes:
    """What ``python -m module`` prints; exits with its exit code unless that is 0."""
    finished = subprocess.run([sys.executable, "-m", module, *arguments], check=False, stdout=subprocess.PIPE)
    if finished.returncode:
        sys.exit(finished.returncode)
    return finished.stdout


def missing_packages(names: Sequence[str] = WORKER_PACKAGES) -> list[str]:
    """Those that are not installed."""
    from importlib.util import find_spec

    return [name for name in names if find_spec(name) is None]


def require_worker_packages(names: Sequence[str] = WORKER_PACKAGES) -> None:
    """Raises BadRequest where one of these is not installed."""
    if missing := missing_packages(names):
        raise BadRequest(f"this needs {' and '.join(missing)}\n  try: pip install 'jdq[worker]'")
