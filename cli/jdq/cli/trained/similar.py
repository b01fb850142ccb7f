"""`jdq similar`: the rows of a dataset that are most similar to a text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import DATASET, SPACE
from jdq.cli.output import json_option, print_json, print_table
from jdq.cli.short_jobs import short_jobs

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion


@click.command()
@click.argument("text")
@click.option("--dataset", type=DATASET, help="Dataset to search.  [default: extracted last]")
@click.option("--space", type=SPACE, metavar="S", help="Feature space, or its first digits.  [default: extracted last]")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Number of rows.")
@json_option
def similar(text: str, dataset: str | None, space: str | None, k: int, as_json: bool) -> None:
    """Find the rows most similar to TEXT.

    Compares the features of all rows of the dataset by cosine; only TEXT is encoded. Computes on this
    machine, without Redis, if torch is installed, else on the workers.

    \b
    jdq similar "Chef for a busy kitchen"
    jdq similar "Chef for a busy kitchen" --dataset postings -k 3
    """
    from jdq.worker.queue.contract import Similar

    if not text.strip():
        raise BadRequest("the text is empty")
    client = Client()
    version = client.store.datasets.get(dataset) if dataset else extracted_last(client)
    digest = client.store.open_space(space).digest if space else None
    with short_jobs(client) as compute:
        spec = Similar(dataset=version.name, version=version.version, space=digest, k=k)
        similar_rows: list[dict[str, Any]] = json.loads(compute(spec, [text]))
    if as_json:
        print_json(similar_rows)
        return
    columns = [name for name in ("similarity", "row", "label", "text") if name in similar_rows[0]]
    print_table(columns, [[_cell(row[name]) for name in columns] for row in similar_rows])


def extracted_last(client: Client) -> DatasetVersion:
    """The dataset version that was extracted last, by the store's records; notes which. Raises BadRequest."""
    from jdq.store.datasets.names import is_passing

    versions = [each for each in client.store.datasets.list() if not is_passing(each.name) and each.spaces()]
    if not versions:
        raise BadRequest("no dataset has been extracted yet\n  try: jdq submit extract data.csv")
    last = max(versions, key=lambda version: version.spaces()[0].recorded_at)
    client.note(f"dataset {last.name} {last.version}")
    return last


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else " ".join(str(value).split())
