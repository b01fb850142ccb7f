"""The connection to Redis, with errors that name the server and the next step."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from jdq.worker.config import Config


class BrokerUnreachable(Exception):
    """No answer from the Redis server, or a refusal; the message names the URL without its password."""


def connect(config: Config, *, patience_s: float = 0.0) -> redis.Redis:
    """A client of the ledger's Redis; commands retry for about `patience_s`, at least once, when the connection breaks.

    Repeating one is safe: see scripts.py.
    """
    retries = max(1, int(patience_s / 2))
    url = redis_url(config.broker_url)
    over_tcp = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="replace",  # one entry that is no UTF-8 must not hide all others
        # A user waits at most 8 s for "no answer"; a worker had better wait for a busy server.
        socket_timeout=15 if patience_s else 4,
        socket_connect_timeout=4,
        **over_tcp,
        health_check_interval=25,
        retry=Retry(ExponentialBackoff(cap=2, base=0.05), retries),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError],
    )


def checked(client: redis.Redis, config: Config) -> redis.Redis:
    """The client, after the server has answered a ping; raises BrokerUnreachable."""
    try:
        client.ping()
    except redis.RedisError as error:
        raise unreachable(config, error) from error
    return client


def unreachable(config: Config, error: redis.RedisError) -> BrokerUnreachable:
    """The error for a server that does not answer, refuses access, or is not a Redis."""
    if config.embedded:
        return BrokerUnreachable(f"the local stack of {config.home} is not running\n  try: jdq up")
    if isinstance(error, redis.AuthenticationError):
        todo = "check the user and password in JDQ_BROKER_URL"
    else:
        todo = "check JDQ_BROKER_URL, or unset it and run: jdq up"
    return BrokerUnreachable(f"no answer from {without_password(config.broker_url)}: {error}\n  try: {todo}")


def redis_url(broker_url: str) -> str:
    """The URL for redis-py: kombu writes a unix socket as ``redis+socket://``, redis-py as ``unix://``."""
    return broker_url.replace("redis+socket://", "unix://", 1)


def without_password(url: str) -> str:
    """The URL without its password, for messages and logs."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{host}"))
