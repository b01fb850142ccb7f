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
    digest = client.store.open_space(space).digest if space else None
    version, digest = extracted_last(client, dataset, digest)
    with short_jobs(client) as compute:
        spec = Similar(dataset=version.name, version=version.version, space=digest, k=k)
        similar_rows: list[dict[str, Any]] = json.loads(compute(spec, [text]))
    if as_json:
        print_json(similar_rows)
        return
    columns = [name for name in ("similarity", "row", "label", "text") if name in similar_rows[0]]
    print_table(columns, [[_cell(row[name]) for name in columns] for row in similar_rows])


def extracted_last(client: Client, dataset: str | None, space: str | None) -> tuple[DatasetVersion, str | None]:
    """A dataset version and its feature space, by the store's records: of the last extraction that has all features.

    One that still runs, or was cancelled, lacks some. Raises BadRequest, UnknownDataset.
    """
    from jdq.store.datasets.names import is_passing

    store = client.store
    if dataset:
        versions = [store.datasets.get(dataset)]
    else:
        versions = [each for each in store.datasets.list() if not is_passing(each.name)]
    made = [(record, each) for each in versions for record in each.spaces() if space in (None, record.space)]
    made.sort(key=lambda each: each[0].recorded_at, reverse=True)
    if not made and dataset:
        return versions[0], space
    if not made:
        raise BadRequest("no dataset has been extracted yet\n  try: jdq submit extract data.csv")
    complete = (each for each in made if not store.open_space(each[0].space).missing(each[1].keys()).any())
    record, last = next(complete, made[0])
    if not dataset:
        client.note(f"dataset {last.name} {last.version}")
    return last, record.space


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else " ".join(str(value).split())
