"""Removes every line of the Lua scripts in turn, and prints those that no test misses.

``python -m tests.queue.lua_mutants``. As a plugin of pytest (`-p tests.queue.lua_mutants`) it removes the line that
LUA_MUTANT names, as `script:number`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

FOLDER = Path(__file__).parents[2] / "worker" / "jdq" / "worker" / "queue" / "lua"
MUTANT = "LUA_MUTANT"
# Lines that change no behaviour that anybody could see, with the reason.
EQUIVALENT: dict[str, str] = {}


def pytest_configure() -> None:
    """Lets the process read the mutant in place of the script."""
    name, _, number = os.environ[MUTANT].partition(":")
    path = FOLDER / f"{name}.lua"
    lines = path.read_text(encoding="utf-8").splitlines()
    del lines[int(number) - 1]
    original = Path.read_text

    def read_text(self: Path, *arguments: str | None, **options: str | None) -> str:
        return "\n".join(lines) if self == path else original(self, *arguments, **options)

    Path.read_text = read_text  # type: ignore[method-assign]


def mutants(scripts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The mutants, as `script:number`, and the lines that they remove; lines without code of their own are left out."""
    for path in sorted(FOLDER.glob("*.lua")):
        if scripts and path.stem not in scripts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip() and not line.strip().startswith("--") and line.strip() != "end":
                yield f"{path.stem}:{number}", line.strip()


def is_caught(mutant: str) -> bool:
    """Whether a test of the queue fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.queue.lua_mutants", "tests/queue"]
    options = ["-p", "no:cacheprovider", "--deselect", "tests/queue/test_explore.py", "--timeout=60"]
    environment = os.environ | {MUTANT: mutant}
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, check=False, cwd=FOLDER.parents[4]
    )
    return done.returncode != 0


@click.command()
@click.argument("scripts", nargs=-1)
def main(scripts: tuple[str, ...]) -> None:
    """Exit code 1 where the tests miss a removed line of SCRIPTS, or of all."""
    caught, missed = 0, 0
    for mutant, line in mutants(scripts):
        if line in EQUIVALENT:
            continue
        if is_caught(mutant):
            caught += 1
        else:
            missed += 1
            click.echo(f"{mutant}: {line}")
    click.echo(f"{caught} of {caught + missed} removed lines caught, {len(EQUIVALENT)} equivalent")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
