"""Running a program of the workers in a separate process, because the client itself imports no torch."""

import subprocess
import sys
from collections.abc import Sequence

from jdq.cli.client import BadRequest

WORKER_PACKAGES = ("torch", "transformers")


class ProgramFailed(Exception):
    """A program of the workers ended with this exit code, after printing the reason on stderr."""

    def __init__(self, module: str, code: int) -> None:
        super().__init__(f"{module} ended with exit code {code}; its message is on stderr")
        self.code = code


def run_program(module: str, arguments: Sequence[str]) -> None:
    """Runs ``python -m module`` with this process's input and output. Raises ProgramFailed when it fails."""
    finished = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if finished.returncode:
        raise ProgramFailed(module, finished.returncode)


def program_output(module: str, arguments: Sequence[str]) -> bytes:
    """What ``python -m module`` writes to stdout. Raises ProgramFailed when it fails."""
    finished = subprocess.run([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, check=False)
    if finished.returncode:
        raise ProgramFailed(module, finished.returncode)
    return finished.stdout


def missing_packages(names: Sequence[str] = WORKER_PACKAGES) -> list[str]:
    """Those that are not installed."""
    from importlib.util import find_spec

    return [name for name in names if find_spec(name) is None]


def require_worker_packages(names: Sequence[str] = WORKER_PACKAGES, *, extra: str = "worker") -> None:
    """Raises BadRequest if one of these, which jdq[extra] installs, is missing."""
    if missing := missing_packages(names):
        raise BadRequest(f"this needs {' and '.join(missing)}\n  try: pip install 'jdq[{extra}]'")
