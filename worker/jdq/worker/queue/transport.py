"""kombu's Redis transport, except that it drops entries that are not messages: they would end the worker."""

import logging
from typing import Any

import redis
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

log = logging.getLogger(__name__)


class Channel(kombu_redis.Channel):
    """A channel that survives entries in its queues that no client of Celery wrote."""

    def _brpop_read(self, **options: Any) -> object:
        try:
            return super()._brpop_read(**options)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            log.error("dropped an entry of a queue that is not a message: %s: %s", type(error).__name__, error)
            return True

    def _get_pool(self, asynchronous: bool = False) -> object:
        if self.connection is None:  # closed while its connection broke: a fault of the network, not of jdq
            raise redis.ConnectionError("the connection of the channel is closed")
        return super()._get_pool(asynchronous=asynchronous)


class Transport(kombu_redis.Transport):
    """The transport with that channel."""

    Channel = Channel


def use_transport() -> None:
    """Makes kombu use this transport for all Redis URLs in this process."""
    for alias in ("redis", "rediss"):
        TRANSPORT_ALIASES[alias] = f"{__name__}:{Transport.__name__}"
