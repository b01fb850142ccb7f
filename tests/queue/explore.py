"""All interleavings of a few workers, chunks and jobs over the real Lua scripts: ``python -m tests.queue.explore``.

A state is the whole database. From each state, every action is tried; states that were seen are not tried again. The
clock is the test's, and stands still unless an action sets it. In each state the invariants must hold, and from each
state the jobs must end by what the reclaimer's tickets make workers do. All of this runs inside the server, in
explore.lua: a round trip per command would cost fifty times as much.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import redis

from tests.queue.conftest import source_on_test_clock
from tests.redis_server import RedisServer

WORKERS = ("a", "b")
SCRIPTS = ["cancel", "commit", "create", "end_process", "fail", "heartbeat"]
SCRIPTS += ["mark_idle", "next", "reclaim", "release", "renew", "retry"]
BATCH = 40  # states per call: a call must end before the client loses patience, on a busy machine too

Action = list[str]


class Violated(AssertionError):
    """An invariant does not hold; the message names it and the actions that led there."""


class Explorer:
    """The ledger on an empty server: a job whose first chunk plans two more, and a job that waits for it.

    submits: one of the actions is that another owner submits a job, equally urgent or more so.
    """

    def __init__(
        self,
        client: redis.Redis,
        workers: Sequence[str] = WORKERS,
        *,
        submits: bool = True,
        source: Callable[[str], str] = source_on_test_clock,
    ) -> None:
        # AOF would get every write of the exploration.
        client.config_set("appendonly", "no")
        client.config_set("busy-reply-threshold", 0)
        client.flushall()
        body = (Path(__file__).parent / "explore.lua").read_text(encoding="utf-8")
        sources = "\n".join(f"sources['{name}'] = [==[{source(name)}]==]" for name in SCRIPTS)
        self._script: Any = client.register_script(f"local sources = {{}}\n{sources}\n{body}")
        self._scene = msgspec.json.encode((workers, submits))
        self.actions: list[Action] = self._actions("start")

    def _ask(self, *arguments: str | bytes | int) -> Any:
        try:
            return self._script(args=[arguments[0], self._scene, *arguments[1:]])
        except redis.ResponseError as error:
            raise Violated(str(error).partition(" script: ")[0]) from error

    def _actions(self, *arguments: str | bytes) -> list[Action]:
        return msgspec.json.decode(self._ask(*arguments), type=list[Action])

    def perform(self, action: Action) -> None:
        """One of the actions that are possible now. Raises Violated."""
        self.actions = self._actions("perform", msgspec.json.encode(action))

    def check_liveness(self) -> None:
        """Ends all jobs from here. Raises Violated."""
        self.actions = self._actions("live")

    def expand(self, level: int) -> tuple[int, int]:
        """Explores some states of a level; how many are known, and are left in it. Raises Violated."""
        seen, left = self._ask("expand", level, BATCH)
        return seen, left


def explore(
    explorer: Explorer, *, depth: int, most: int = sys.maxsize, seconds: float = float("inf")
) -> tuple[int, int]:
    """Breadth first, to this depth, this many states or this time; (states, depth reached). Raises Violated."""
    ends = time.monotonic() + seconds
    seen = 1
    for level in range(depth):
        left = 1
        while left:
            seen, left = explorer.expand(level)
            if seen >= most or time.monotonic() > ends:
                return seen, level + 1
    return seen, depth


@click.command()
@click.option("--depth", type=int, default=20, show_default=True, help="Maximum number of actions.")
@click.option("--states", type=int, default=1_000_000, show_default=True, help="Maximum number of states.")
@click.option("--minutes", type=float, default=60, show_default=True, help="Maximum time.")
def main(depth: int, states: int, minutes: float) -> None:
    """Explore the states of the ledger; exit code 1 where an invariant does not hold."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        server = RedisServer(Path(folder)).start()
        explorer = Explorer(server.client(timeout_s=None))
        began = time.monotonic()
        try:
            found, reached = explore(explorer, depth=depth, most=states, seconds=60 * minutes)
        except Violated as violated:
            click.echo(violated, err=True)
            sys.exit(1)
        finally:
            server.kill()
    click.echo(f"{found:,} states, {reached} actions deep, in {time.monotonic() - began:.0f} s: no violation")


if __name__ == "__main__":
    main()
