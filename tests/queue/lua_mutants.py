"""Removes every line of the Lua scripts in turn, and prints those that no test misses.

``python -m tests.queue.lua_mutants``. Each mutant meets the tests of the queue, and if they pass, the exploration of
its states.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tests.mutation.forks import LOG, answers, fails, must_pass, with_collected
from tests.queue.explore import Explorer, Violated, explore
from tests.redis_server import RedisServer

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "worker" / "jdq" / "worker" / "queue" / "lua"
DEPTH = 5
LIMIT_S = 300
# Lines that change no behaviour that anybody could see, with the reason.
EQUIVALENT = {
    "return false": "at the end of a function whose callers only ask whether the answer is true",
    "return nil": "at the end of a function, which returns nil anyway",
}

Mutant = tuple[Path, int, str]


def mutants(scripts: tuple[str, ...]) -> Iterator[Mutant]:
    """The file, number and text of each line to remove; lines without code of their own are left out."""
    for path in sorted(FOLDER.glob("*.lua")):
        if scripts and path.stem not in scripts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            code = line.strip()
            if code and not code.startswith("--") and code not in ("end", "end)", "}") and code not in EQUIVALENT:
                yield path, number, code


def remove(path: Path, number: int) -> None:
    """Lets this process read the file without the line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    del lines[number - 1]
    original = Path.read_text

    def read_text(self: Path, *arguments: str | None, **options: str | None) -> str:
        return "\n".join(lines) if self == path else original(self, *arguments, **options)

    Path.read_text = read_text  # type: ignore[method-assign]


def violates() -> bool:
    """Whether the exploration finds a violation."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        server = RedisServer(Path(folder)).start()
        try:
            explore(Explorer(server.client()), depth=DEPTH)
        except Violated:
            return True
        finally:
            server.kill()
    return False


def is_caught(session: pytest.Session, mutant: Mutant) -> bool:
    """Whether a test of the queue fails, or the exploration finds a violation; first the tests that failed before."""
    remove(*mutant[:2])
    failed = LOG.read_text(encoding="utf-8", errors="replace") if LOG.exists() else ""
    return fails(session, sorted(session.items, key=lambda test: -failed.count(test.nodeid))) or violates()


@click.command()
@click.argument("scripts", nargs=-1)
@click.option("--children", type=int, default=os.cpu_count(), help="Mutants tested at the same time.")
def main(scripts: tuple[str, ...], children: int) -> None:
    """Exit code 1 where the tests miss a removed line of SCRIPTS, or of all."""
    os.chdir(PROJECT)
    caught: list[Mutant] = []
    missed: list[Mutant] = []

    def work(session: pytest.Session) -> None:
        def calls() -> Iterator[tuple[Mutant, Callable[[], bool], float]]:
            for mutant in mutants(scripts):
                yield mutant, lambda mutant=mutant: is_caught(session, mutant), LIMIT_S  # type: ignore[misc]

        must_pass(lambda: fails(session, session.items))
        for mutant, noticed in answers(calls(), children):
            (caught if noticed else missed).append(mutant)
            if not noticed:
                click.echo(f"{mutant[0].stem}:{mutant[1]}: {mutant[2]}")

    files = sorted(str(path) for path in Path("tests/queue").glob("test_*.py") if path.stem != "test_explore")
    with_collected(files, work)
    click.echo(f"{len(caught)} of {len(caught) + len(missed)} removed lines caught, {len(EQUIVALENT)} equivalent")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
