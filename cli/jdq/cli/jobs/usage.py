"""`jdq usage`: device time, texts, tokens and price, by owner, dataset, encoder or kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from jdq.cli.client import Client
from jdq.cli.jobs.history import time_of
from jdq.cli.output import duration, json_option, print_json, print_table
from jdq.worker.report.comparison_row import price_of

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job


@dataclass(slots=True, kw_only=True)
class Usage:
    """What the jobs of one owner, dataset, encoder or kind used. texts, tokens: those that an encoder has computed."""

    name: str
    jobs: int = 0
    device_s: float = 0.0
    texts: int = 0
    tokens: int = 0
    price: float | None = None

    def add(self, job: Job) -> None:
        """Adds what the job used so far."""
        self.jobs += 1
        # Earlier versions counted only the encoders' time.
        self.device_s += job.used_s or job.counts.get("device_ms", 0) / 1000
        self.texts += job.counts.get("computed", 0)
        self.tokens += job.counts.get("tokens", 0)


def _encoder(job: Job) -> str:
    options = getattr(job.spec, "options", None)
    return getattr(job.spec, "encoder", None) or getattr(options, "encoder", None) or "-"


NAMES: dict[str, Callable[[Job], str]] = {
    "owner": lambda job: job.owner,
    "dataset": lambda job: job.spec.dataset,
    "encoder": _encoder,
    "kind": lambda job: job.kind,
}


@click.command()
@click.option("--by", type=click.Choice([*NAMES]), default="owner", show_default=True, help="What to group by.")
@click.option(
    "--since", metavar="TIME", default="30d", show_default=True, help="Only jobs since TIME, as for `jdq jobs`."
)
@json_option
def usage(by: str, since: str, as_json: bool) -> None:
    """Show what jobs have used.

    Device time is that of attempts that have ended, on GPUs and CPUs alike, failed ones included. Texts and tokens are
    those that an encoder has computed. JDQ_DEVICE_HOUR_PRICE sets the price.

    \b
    jdq usage
    jdq usage --by dataset --since 7d
    """
    client = Client()
    rows = used(client.jobbook.newest(since=time_of(since, "--since")), by, client.config.device_hour_price)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(*usage_table(by, rows))


def usage_table(by: str, rows: Sequence[Usage]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, with prices if there is a price."""
    priced = any(row.price is not None for row in rows)
    cells = [
        [
            row.name,
            f"{row.jobs:,}",
            duration(row.device_s),
            f"{row.texts:,}",
            f"{row.tokens:,}",
            *([f"{row.price:,.2f}"] if priced else []),
        ]
        for row in rows
    ]
    return [by, "jobs", "device time", "texts", "tokens", *(["price"] if priced else [])], cells


def used(jobs: Iterable[Job], by: str, hour_price: float) -> list[Usage]:
    """A row for each name, the most device time first. by: one of NAMES."""
    rows: dict[str, Usage] = {}
    for job in jobs:
        name = NAMES[by](job)
        rows.setdefault(name, Usage(name=name)).add(job)
    for row in rows.values():
        row.price = price_of(row.device_s, hour_price)
    return sorted(rows.values(), key=lambda row: (-row.device_s, row.name))
