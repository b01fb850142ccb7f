"""Every interleaving of a few actions, and long random ones; `make explore` goes deeper."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.queue.conftest import source_on_test_clock
from tests.queue.explore import Explorer, Violated, explore
from tests.redis_server import RedisServer

WORKERS = ("a", "b", "c")
DEPTH = 7


@pytest.fixture(scope="module")
def own_client() -> Iterator[redis.Redis]:
    """Of a server that may block for as long as the exploration takes, and whose settings may change."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        server = RedisServer(Path(folder)).start()
        with server.client(timeout_s=None) as client:
            yield client
        server.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("submits", "depth", "least"), [(False, DEPTH, 60_000), (True, DEPTH - 2, 9_000)])
def test_no_interleaving_of_seven_actions_breaks_the_ledger_or_of_five_with_a_job_of_another_owner(
    own_client: redis.Redis, submits: bool, depth: int, least: int
) -> None:
    states, reached = explore(Explorer(own_client, submits=submits), depth=depth)
    assert reached == depth
    assert states > least  # fewer would mean that states are taken for equal


@pytest.mark.parametrize(
    ("script", "line", "broken"),
    [
        ("commit", "  if holder['token'] ~= held.token then return nil end", "only the present holder commits"),
        ("next", "if earlier then return earlier end", "a repeated next gets its chunk"),
        ("reclaim", "  if now >= grace_until then reclaim_expired(id) end", "all jobs end"),
        ("next", "of[owner] < most and ", "the owner who had less, goes first"),
        (
            "renew",
            "    if redis.call('HEXISTS', 'jdq:workers:busy', name) == 0 then return nil end",
            "makes room for an urgent job",
        ),
        ("release", "  charge(id, took - holder.charged)", "owners are charged what their chunks took"),
    ],
)
def test_the_exploration_finds_a_line_that_is_missing(
    own_client: redis.Redis, script: str, line: str, broken: str
) -> None:
    def source(name: str) -> str:
        text = source_on_test_clock(name)
        assert name != script or line in text
        return text.replace(line, "") if name == script else text

    with pytest.raises(Violated, match=f"{broken}; after: .*next"):
        explore(Explorer(own_client, source=source), depth=DEPTH)


class ThreeWorkers(RuleBasedStateMachine):
    """Long histories of three workers; hypothesis shortens one that breaks an invariant."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.explorer = Explorer(client, WORKERS)

    def _possible(self, names: set[str], worker: str) -> list[list[str]]:
        return [action for action in self.explorer.actions if action[0] in names and action[1:2] in ([worker], [])]

    @rule(data=st.data())
    def anything(self, data: st.DataObject) -> None:
        """One of the actions that are possible."""
        self.explorer.perform(data.draw(st.sampled_from(self.explorer.actions)))

    @rule(worker=st.sampled_from(WORKERS))
    def work(self, worker: str) -> None:
        """A worker's ordinary step: it takes a chunk, or commits the one that it has."""
        for action in self._possible({"next", "commit", "next again"}, worker)[:1]:
            self.explorer.perform(action)

    @rule()
    def end(self) -> None:
        """Only the tickets of the reclaimer are left, and all jobs end; a user may then retry."""
        self.explorer.check_liveness()


def test_no_long_history_of_three_workers_breaks_the_ledger(own_client: redis.Redis) -> None:
    limits = settings(max_examples=25, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(lambda: ThreeWorkers(own_client), settings=limits)  # type: ignore[arg-type]
