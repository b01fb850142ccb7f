"""Every interleaving of a few actions; `make explore` goes deeper."""

from __future__ import annotations

import pytest
import redis

from jdq.worker.queue import scripts
from tests.queue.conftest import source_on_test_clock
from tests.queue.explore import Explorer, explore
from tests.redis_server import RedisServer


def test_no_interleaving_of_three_actions_breaks_the_ledger(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "_source", source_on_test_clock)
    raw = redis.Redis(unix_socket_path=str(server.socket))
    states, depth = explore(Explorer(client, raw), depth=3, most=10**6)
    assert depth == 3
    assert states > 200
