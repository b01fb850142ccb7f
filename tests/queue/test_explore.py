"""Every interleaving of a few actions, and long random ones; `make explore` goes deeper."""

from __future__ import annotations

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jdq.worker.queue import scripts
from tests.queue.conftest import source_on_test_clock
from tests.queue.explore import Checker, Explorer, explore
from tests.redis_server import RedisServer


def test_no_interleaving_of_three_actions_breaks_the_ledger(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "_source", source_on_test_clock)
    raw = redis.Redis(unix_socket_path=str(server.socket))
    states, depth = explore(Explorer(client, raw), depth=3, most=10**6)
    assert depth == 3
    assert states > 200


@given(choices=st.lists(st.integers(0, 999), min_size=20, max_size=60))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_long_history_of_three_workers_breaks_the_ledger(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, choices: list[int]
) -> None:
    """Each number chooses one of the actions that are possible then; hypothesis shortens a history that fails."""
    monkeypatch.setattr(scripts, "_source", source_on_test_clock)
    explorer = Explorer(client, redis.Redis(unix_socket_path=str(server.socket)), workers=("a", "b", "c"))
    checker = Checker(explorer)
    explorer.start()
    for choice in choices:
        actions = list(explorer.actions())
        actions[choice % len(actions)][1]()
        checker.check()
    checker.check_liveness()
    checker.check()
