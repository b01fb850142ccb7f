"""The connection to Redis: how long it waits, and what it says when there is none."""

import time
from pathlib import Path
from typing import Any

import pytest
import redis

from jdq.worker.config import Config, read_config
from jdq.worker.queue.connection import BrokerUnreachable, checked, connect, server_warnings, unreachable
from tests.queue.test_servers import SOUND, Answers
from tests.redis_server import RedisServer

TCP = "redis://u:secret@h:1/0"


def config_for(url: str | None, home: str = "/nonexistent") -> Config:
    return read_config({"JDQ_HOME": home} | ({"JDQ_BROKER_URL": url} if url else {}))


def settings(url: str, patience_s: float = 0) -> dict[str, Any]:
    client = connect(config_for(url), patience_s=patience_s)
    return dict(client.connection_pool.connection_kwargs)


@pytest.mark.parametrize(
    ("patience_s", "timeout", "connect_timeout", "retries"),
    [(0, 2, 2, 1), (0.5, 15, 4, 1), (4, 15, 4, 2), (60, 15, 4, 30)],
)
def test_a_user_waits_for_seconds_and_a_worker_as_long_as_it_is_patient(
    patience_s: float, timeout: int, connect_timeout: int, retries: int
) -> None:
    found = settings(TCP, patience_s=patience_s)
    assert (found["socket_timeout"], found["socket_connect_timeout"]) == (timeout, connect_timeout)
    assert found["retry"].get_retries() == retries
    assert found["health_check_interval"] == 25
    assert settings(TCP)["socket_timeout"] == 2


def test_a_retry_waits_for_two_seconds_at_most() -> None:
    backoff = settings(TCP, patience_s=60)["retry"]._backoff
    assert [backoff.compute(failures) for failures in (1, 2, 20)] == [0.1, 0.2, 2]


def test_a_connection_over_tcp_is_kept_alive_and_one_over_a_socket_need_not_be() -> None:
    assert settings(TCP)["socket_keepalive"] is True
    assert "socket_keepalive" not in settings("redis+socket:///run/r.sock")


def test_an_entry_that_is_no_utf8_is_read_with_replacements(server: RedisServer) -> None:
    raw = redis.Redis(unix_socket_path=str(server.socket))
    with raw, connect(config_for(server.url)) as client:
        raw.set("odd", b"a\xff")
        assert client.get("odd") == "a\ufffd"


def test_a_local_stack_that_is_down_is_named_with_the_command_that_starts_it(tmp_path: Path) -> None:
    config = config_for(None, str(tmp_path))
    with pytest.raises(BrokerUnreachable) as raised:
        checked(connect(config), config)
    first, last = str(raised.value).split("\n")
    assert f"local stack runs in the JDQ_HOME {tmp_path}" in first
    assert last.startswith("  try: jdq up")


@pytest.mark.parametrize(
    ("error", "todo"),
    [
        (redis.ConnectionError("refused"), "check JDQ_BROKER_URL, or unset it and run: jdq up"),
        (redis.AuthenticationError("refused"), "check the user and password in JDQ_BROKER_URL"),
    ],
)
def test_a_server_of_the_users_own_is_named_without_its_password(error: redis.RedisError, todo: str) -> None:
    assert str(unreachable(config_for(TCP), error)) == f"no answer from redis://u:***@h:1/0: refused\n  try: {todo}"


def test_a_server_that_answers_is_passed_through(server: RedisServer) -> None:
    config = config_for(server.url)
    with connect(config) as client:
        assert checked(client, config) is client


@pytest.mark.parametrize("version", ["6.2", "6.2.0"])
def test_the_oldest_server_that_is_enough(version: str) -> None:
    assert list(server_warnings(Answers(**SOUND | {"redis_version": version}))) == []


def test_what_makes_a_server_a_bad_place_is_said_in_full() -> None:
    assert list(server_warnings(Answers(**SOUND | {"maxmemory_policy": "volatile-lru", "aof_enabled": 0}))) == [
        "the Redis server may evict jobs: its maxmemory-policy is volatile-lru, not noeviction",
        "the Redis server forgets jobs when it ends: its append-only file is off (appendonly yes)",
    ]


def test_a_process_that_ends_does_not_wait_for_a_server_that_is_away() -> None:
    patient = [True, True, True, False]
    config = config_for("redis+socket:///nonexistent/r.sock")
    began = time.monotonic()
    with (
        connect(config, patience_s=600, waits=lambda: patient.pop(0) if patient else False) as client,
        pytest.raises(redis.ConnectionError, match=r"^the server does not answer, and this process ends$"),
    ):
        client.ping()
    assert patient == []
    assert time.monotonic() - began < 5
