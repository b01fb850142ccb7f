"""The connection to Redis, with errors that name the server and the next step."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from jdq.worker.config import Config

OLDEST = (6, 2)


class BrokerUnreachable(Exception):
    """No answer from the Redis server, or a refusal; the message names the URL without its password."""


class _Backoff(ExponentialBackoff):
    """The pause before a command is repeated, for as long as `waits()` is true."""

    def __init__(self, waits: Callable[[], bool]) -> None:
        super().__init__(cap=2, base=0.05)
        self._waits = waits

    def compute(self, failures: int) -> float:
        """In seconds; raises redis.ConnectionError if nobody waits any more."""
        if not self._waits():
            raise redis.ConnectionError("the server does not answer, and this process ends")
        return super().compute(failures)


def connect(config: Config, *, patience_s: float = 0.0, waits: Callable[[], bool] = lambda: True) -> redis.Redis:
    """A client of the ledger's Redis; commands retry for about `patience_s`, at least once, when the connection breaks.

    waits: whether they still should. Repeating a command is safe: see scripts.py.
    """
    retries = max(1, int(patience_s / 2))
    url = redis_url(config.broker_url)
    over_tcp = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="replace",  # an entry that is not UTF-8 must not hide all others
        # A user waits at most 5 s for "no answer", in two tries; a worker should wait for a busy server.
        socket_timeout=15 if patience_s else 2,
        socket_connect_timeout=4 if patience_s else 2,
        **over_tcp,
        health_check_interval=25,
        retry=Retry(_Backoff(waits), retries),
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
        return BrokerUnreachable(
            f"no local stack runs in the JDQ_HOME {config.home}\n"
            "  try: jdq up, or set the JDQ_HOME with which it was started"
        )
    if isinstance(error, redis.AuthenticationError):
        todo = "check the user and password in JDQ_BROKER_URL"
    else:
        todo = "check JDQ_BROKER_URL, or unset it and run: jdq up"
    return BrokerUnreachable(f"no answer from {without_password(config.broker_url)}: {error}\n  try: {todo}")


def server_warnings(client: redis.Redis) -> Iterator[str]:
    """What makes the server unsuitable for the ledger. Raises BrokerUnreachable for one that is too old."""
    info = client.info()
    running = str(info["redis_version"])
    if tuple(map(int, running.split(".")[:2])) < OLDEST:
        raise BrokerUnreachable(
            f"the Redis server is version {running}; jdq needs {'.'.join(map(str, OLDEST))} or newer"
        )
    if info.get("maxmemory_policy") != "noeviction":
        yield f"the Redis server may evict jobs: its maxmemory-policy is {info.get('maxmemory_policy')}, not noeviction"
    if not info.get("aof_enabled"):
        yield "the Redis server forgets jobs when it ends: its append-only file is off (appendonly yes)"


def redis_url(broker_url: str) -> str:
    """The URL for redis-py: kombu writes a unix socket as ``redis+socket://``, redis-py as ``unix://``."""
    return broker_url.replace("redis+socket://", "unix://", 1)


def without_password(url: str) -> str:
    """The URL without its password, for messages and logs."""
    url = re.sub(r"(?i)([?&][^=&#]*pass[^=&#]*=)[^&#]*", r"\1***", url)
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{host}"))
