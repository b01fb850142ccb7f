"""The ledger's Lua scripts. Each runs whole or not at all on the server, with the server's clock."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import redis


@cache
def _source(name: str) -> str:
    folder = resources.files("jdq.worker.queue") / "lua"
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("shared", name))


def call(client: redis.Redis, name: str, *arguments: str | int | float) -> Any:
    """What the script `name` returns for these arguments; raises redis.RedisError."""
    script = client.register_script(_source(name))
    return script(args=list(arguments))
