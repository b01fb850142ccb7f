"""Removes every line of the Lua scripts in turn, and prints those that no test misses.

``python -m tests.queue.lua_mutants``. Each mutant is tested in a fork of this process, which has imported all that the
tests need: by the tests of the queue, and if they pass, by the exploration of its states.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.queue.explore import Explorer, Violated, explore
from tests.redis_server import RedisServer

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "worker" / "jdq" / "worker" / "queue" / "lua"
DEPTH = 5
# Lines that change no behaviour that anybody could see, with the reason.
EQUIVALENT: dict[str, str] = {}


def mutants(scripts: tuple[str, ...]) -> Iterator[tuple[Path, int, str]]:
    """The file, number and text of each line to remove; lines without code of their own are left out."""
    for path in sorted(FOLDER.glob("*.lua")):
        if scripts and path.stem not in scripts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip() and not line.strip().startswith("--") and line.strip() not in ("end", "end)", "}"):
                yield path, number, line.strip()


def remove(path: Path, number: int) -> None:
    """Lets this process read the file without the line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    del lines[number - 1]
    original = Path.read_text

    def read_text(self: Path, *arguments: str | None, **options: str | None) -> str:
        return "\n".join(lines) if self == path else original(self, *arguments, **options)

    Path.read_text = read_text  # type: ignore[method-assign]


def is_noticed() -> bool:
    """Whether a test of the queue fails, or the exploration finds a violation."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout=60", "--deselect", "tests/queue/test_explore.py"]
    if pytest.main([*options, str(PROJECT / "tests" / "queue")]):
        return True
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        server = RedisServer(Path(folder)).start()
        try:
            explore(Explorer(server.client()), depth=DEPTH)
        except Violated:
            return True
        finally:
            server.kill()
    return False


def is_caught(path: Path, number: int) -> bool:
    """The same of the mutant, in a fork."""
    child = os.fork()
    if not child:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        caught = True
        try:
            remove(path, number)
            caught = is_noticed()
        finally:
            os._exit(caught)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


@click.command()
@click.argument("scripts", nargs=-1)
def main(scripts: tuple[str, ...]) -> None:
    """Exit code 1 where the tests miss a removed line of SCRIPTS, or of all."""
    os.chdir(PROJECT)
    caught, missed = 0, 0
    for path, number, line in mutants(scripts):
        if line in EQUIVALENT:
            continue
        if is_caught(path, number):
            caught += 1
        else:
            missed += 1
            click.echo(f"{path.stem}:{number}: {line}")
    click.echo(f"{caught} of {caught + missed} removed lines caught, {len(EQUIVALENT)} equivalent")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
