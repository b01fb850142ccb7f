"""The Redis user that the documentation gives a person: it can do all that jdq needs, and nothing else."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jdq.worker.config import read_config
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.connection import checked, connect
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.tickets import send_tickets
from tests.queue.ledgers import SPEC
from tests.redis_server import RedisServer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "redis-users.md").read_text(encoding="utf-8")


@pytest.fixture
def url(server: RedisServer, client: redis.Redis) -> Iterator[str]:
    """The server's URL as alice."""
    [command] = re.findall(r"^redis-cli (ACL SETUSER alice .*)$", PAGE, re.MULTILINE)
    server_of: Any = client
    server_of.execute_command(*shlex.split(command))
    yield f"redis+socket://alice:PASSWORD@{server.socket}"
    server_of.execute_command("ACL", "DELUSER", "alice")


def test_the_user_can_submit_list_cancel_retry_and_remove_jobs(url: str) -> None:
    config = read_config({"JDQ_BROKER_URL": url})
    client = checked(connect(config), config)
    assert client.acl_whoami() == "alice"
    book = JobBook(client)
    job, tickets = book.create(SPEC, owner="alice")
    send_tickets(celery_app(config), tickets)
    assert book.cancel(job, by="alice")
    book.retry(job)
    book.cancel(job)
    assert [found.id for found in book.newest()] == [job]
    assert (book.workers(), book.open_jobs()) == ([], [])
    assert book.forget([job]) == [job]


@pytest.mark.parametrize("command", ["FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "SET other 1", "SHUTDOWN"])
def test_the_user_can_do_nothing_to_the_server_or_to_other_keys(url: str, command: str) -> None:
    client: Any = connect(read_config({"JDQ_BROKER_URL": url}))
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


def test_the_user_in_the_page_has_the_rights_of_that_in_compose() -> None:
    [command] = re.findall(r"^redis-cli ACL SETUSER alice on '>PASSWORD' (.*)$", PAGE, re.MULTILINE)
    users = (Path(__file__).parents[2] / "docker" / "redis" / "users.acl").read_text()
    [rights] = re.findall(r"^user jdq on #PASSWORD_SHA256 (.*)$", users, re.MULTILINE)
    assert shlex.split(command) == rights.split()
