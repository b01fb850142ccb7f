"""`jdq submit find-duplicates`: list texts that are nearly equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import DATASET, SPACE, VERSION
from jdq.cli.jobs.tables import Target, target_options
from jdq.cli.submit.head_spec import features_of
from jdq.cli.submit.sending import Sending, job_options, send_for_table

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.queue.contract import FindDuplicates


@click.command("find-duplicates", short_help="List texts that are nearly equal.")
@click.argument("dataset", type=DATASET, required=False)
@click.option("--against", type=DATASET, metavar="OTHER", help="Compare with the rows of another dataset.")
@click.option("--across-split", is_flag=True, help="Compare the test part with the rest of the dataset.")
@click.option("--label-column", help="Label column whose split is used.  [default: the dataset's own]")
@click.option(
    "--least",
    type=click.FloatRange(-1, 1),
    metavar="COSINE",
    help="Minimum similarity.  [default: 95 % of the way from that of any two texts to 1]",
)
@click.option(
    "--version", type=VERSION, metavar="V", help="Version of DATASET, or its first digits.  [default: extracted last]"
)
@click.option("--space", type=SPACE, metavar="S", help="Feature space, or its first digits.  [default: extracted last]")
@target_options("File for the table (.csv, .tsv, .jsonl, .parquet), or - for stdout; waits for the job.")
@job_options
def find_duplicates(
    dataset: str | None, version: str | None, space: str | None, to: Target | None, sending: Sending, **options: Any
) -> None:
    """List the rows of DATASET whose text nearly equals that of another row.

    The default is the dataset extracted last. By default, each row is compared with the earlier rows, so that no
    near-duplicates are left if you remove the listed rows. The table has the most similar pairs first: row, text, other
    row, other text, similarity (cosine of the features).

    \b
    jdq submit find-duplicates postings --to duplicates.csv
    jdq submit find-duplicates postings --across-split --wait
    """
    client = Client()
    spec, after = duplicates_spec(client, dataset, version, space, **options)
    send_for_table(client, spec, sending, to, after=after)


def duplicates_spec(
    client: Client,
    dataset: str | None,
    version: str | None,
    space: str | None,
    *,
    against: str | None,
    across_split: bool,
    label_column: str | None,
    least: float | None,
) -> tuple[FindDuplicates, list[str]]:
    """The job and those that it waits for. Raises BadRequest, NoLabels, and the store's errors about unknown names."""
    from jdq.worker.queue.contract import FindDuplicates

    if against is not None and across_split:
        raise BadRequest("give either --against or --across-split")
    extracted, extracted_space, after = features_of(client, dataset, version, space)
    if across_split:
        extracted.labels(label_column, missing="keep")
    other = None if against is None else client.store.datasets.get(against)
    if other is not None and space is None and not after:
        extracted_space, other = _in_common(client, extracted, other)
    spec = FindDuplicates(
        dataset=extracted.name,
        version=extracted.version,
        space=extracted_space,
        against=against,
        against_version=None if other is None else other.version,
        across_split=across_split,
        label_column=label_column,
        least=least,
    )
    return spec, after


def _in_common(client: Client, version: DatasetVersion, other: DatasetVersion) -> tuple[str, DatasetVersion]:
    """The last feature space of the version in which the other dataset also has features, and its newest version there.

    Raises BadRequest.
    """
    versions = [each for each in client.store.datasets.list() if each.name == other.name]
    spaces = [(each, {made.space for made in each.spaces()}) for each in versions]
    for made in version.spaces():
        for each, theirs in spaces:
            if made.space in theirs:
                if each.version != other.version:
                    client.note(f"the newest version of {other.name} lacks features; using {each.version}")
                return made.space, each
    encoder = next((f" --encoder {made.encoder}" for made in version.spaces()), "")
    raise BadRequest(
        f"{version.name} and {other.name} have no features in the same feature space\n"
        f"  try: jdq submit extract FILE --name {other.name}{encoder}"
    )
