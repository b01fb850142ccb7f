"""`jdq submit find-label-errors`: list the rows whose label is probably wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import Client
from jdq.cli.ids import DATASET, SPACE, VERSION
from jdq.cli.jobs.tables import Target, target_options
from jdq.cli.submit.data import check_classes, label_options
from jdq.cli.submit.head_spec import features_of
from jdq.cli.submit.sending import Sending, job_options, send_for_table

if TYPE_CHECKING:
    from jdq.worker.queue.contract import FindLabelErrors


@click.command("find-label-errors", short_help="List rows with a probably wrong label.")
@click.argument("dataset", type=DATASET, required=False)
@click.option("--label-column", help="Column with the labels.  [default: the dataset's own]")
@label_options
@click.option(
    "--head",
    type=click.Choice(["auto", "hybrid"]),
    default="auto",
    show_default=True,
    help="Kind of head that judges the labels; hybrid also reads the words, and takes longer.",
)
@click.option(
    "--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Number of folds for cross-validation."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed for the folds.")
@click.option(
    "--version", type=VERSION, metavar="V", help="Version of DATASET, or its first digits.  [default: extracted last]"
)
@click.option("--space", type=SPACE, metavar="S", help="Feature space, or its first digits.  [default: extracted last]")
@target_options("File for the table (.csv, .tsv, .jsonl, .parquet), or - for stdout; waits for the job.")
@job_options
def find_label_errors(
    dataset: str | None,
    label_column: str | None,
    labels_by: str | None,
    version: str | None,
    space: str | None,
    to: Target | None,
    sending: Sending,
    **options: Any,
) -> None:
    """List the rows of DATASET whose label is probably wrong.

    The default is the dataset extracted last. Each row is judged by heads that were trained on other texts. The table
    has the most likely errors first: row, text, given and suggested label, part of the split, score (the probability
    that the given label is wrong), and the probability of the suggested label.

    \b
    jdq submit find-label-errors postings --to errors.csv
    """
    client = Client()
    spec, after = label_errors_spec(client, dataset, version, space, label_column, labels_by, **options)
    send_for_table(client, spec, sending, to, after=after)


def label_errors_spec(
    client: Client,
    dataset: str | None,
    version: str | None,
    space: str | None,
    label_column: str | None,
    label_separator: str | None,
    **options: Any,
) -> tuple[FindLabelErrors, list[str]]:
    """The job and those that it waits for. Raises BadRequest, NoLabels, and the store's errors about unknown names."""
    from jdq.worker.queue.contract import FindLabelErrors

    extracted, extracted_space, after = features_of(client, dataset, version, space)
    check_classes(extracted, label_column, label_separator, client.note)
    spec = FindLabelErrors(
        dataset=extracted.name,
        version=extracted.version,
        space=extracted_space,
        label_column=label_column,
        label_separator=label_separator,
        **options,
    )
    return spec, after
