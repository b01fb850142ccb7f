"""The options that every job takes from Python: priority, time limit, and who is notified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from jdq.cli.client import BadRequest
from jdq.cli.jobs.history import seconds_of
from jdq.cli.submit.sending import check_right, check_url
from jdq.client.connection import InProcess

if TYPE_CHECKING:
    from jdq.client.connection import Connection

Priority: TypeAlias = Literal["high", "normal", "low"]
Urls: TypeAlias = str | Sequence[str] | None


def sending_of(
    connection: Connection, priority: Priority | None, time_limit: str | None, notify: Urls
) -> dict[str, Any]:
    """The options as those of `submit`. Raises BadRequest."""
    if isinstance(connection, InProcess) and (priority or time_limit or notify):
        raise BadRequest("priority, time_limit and notify are for jobs on workers, and Client.local() has none")
    if priority not in (None, *get_args(Priority)):
        raise BadRequest(f"priority is one of high, normal and low, not {priority!r}")
    if priority == "high":
        check_right(connection.config)
    urls = [notify] if isinstance(notify, str) else notify
    for url in urls or ():
        check_url(url)
    seconds = None if time_limit is None else seconds_of(time_limit, "--time-limit")
    return {"priority": priority, "time_limit_s": seconds, "notify": urls}
