"""Servers of the user's own: what is said about them, and what is never shown."""

from typing import Any

import pytest
import redis

from jdq.worker.queue.connection import BrokerUnreachable, server_warnings, without_password
from jdq.worker.queue.exit_codes import plain, plain_lines

SOUND = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": 1}


class Answers(redis.Redis):
    """A server that says this about itself."""

    def __init__(self, **info: Any) -> None:
        self._info = info

    def info(self, *_: Any, **__: Any) -> dict[str, Any]:
        return self._info


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "may evict jobs: its maxmemory-policy is allkeys-lru"),
        ({"aof_enabled": 0}, "forgets jobs when it ends"),
    ],
)
def test_a_server_that_may_lose_jobs_is_warned_of(changed: dict[str, Any], warning: str) -> None:
    [found] = server_warnings(Answers(**SOUND | changed))
    assert warning in found


def test_a_sound_server_is_not_warned_of_and_the_tests_own_is_one(client: redis.Redis) -> None:
    assert list(server_warnings(Answers(**SOUND))) == []
    assert list(server_warnings(client)) == []


@pytest.mark.parametrize("version", ["6.0.16", "5.9"])
def test_a_server_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(BrokerUnreachable, match=rf"version {version}; jdq needs 6\.2"):
        list(server_warnings(Answers(**SOUND | {"redis_version": version})))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("redis://u:secret@h", "redis://u:***@h"),
        ("redis://h/0?password=secret&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h/0?db=1&ssl_keyfile_PASSWORD=secret", "redis://h/0?db=1&ssl_keyfile_PASSWORD=***"),
        ("redis://u:a@b:c@h", "redis://u:***@h"),
        ("redis://u:secret:with:colons@h", "redis://u:***@h"),
        ("redis://h/0", "redis://h/0"),
    ],
)
def test_no_password_in_a_url_is_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_control_characters_are_shown_as_escapes() -> None:
    assert plain("a\x1b[2Jb\x07\x9b1mé \u202e") == r"a\x1b[2Jb\x07\x9b1mé \u202e"
    assert plain_lines("one\n\x1btwo") == "one\n\\x1btwo"
