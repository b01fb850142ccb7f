"""`jdq logs`: the log lines of one job, from all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import Client
from jdq.cli.ids import JOB
from jdq.cli.output import say

if TYPE_CHECKING:
    import redis

WAIT_MS = 1000


@click.command()
@click.argument("job", type=JOB)
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the job ends.")
def logs(job: str, follow: bool) -> None:
    """Print the log lines of JOB.

    Lines of all workers, oldest first; the last 2,000 per job are kept.

    \b
    jdq logs extract-k3v9x2pq
    jdq logs -f fine-tune-7c2mhq4z
    """
    from jdq.worker.queue.archive import archived_lines, lines_key

    client = Client()
    stream = lines_key(client.job(job).id)
    last = "0"
    for line in archived_lines(client.job_files(), job):
        say(line)
    while True:
        ended = client.job(job).state.ended
        # Read after the state, so that the last lines are not missed; a short wait, so that the end is seen.
        for entry, line in _lines(client.redis, stream, last, block=WAIT_MS if follow and not ended else None):
            say(line)
            last = entry
        if not follow or ended:
            return


def last_lines(client: Client, job: str, count: int) -> list[str]:
    """At most this many last lines of the job, oldest first."""
    from jdq.worker.queue.archive import lines_key

    entries: Any = client.redis.xrevrange(lines_key(job), count=count)
    return [fields["line"] for _, fields in reversed(entries)]


def _lines(client: redis.Redis, stream: str, last: str, *, block: int | None) -> list[tuple[str, str]]:
    """The stream's entries after `last`: their ids and lines."""
    answer: Any = client.xread({stream: last}, block=block)
    return [(entry, fields["line"]) for _, entries in answer or [] for entry, fields in entries]
