"""`jdq submit extract`: compute the features of a file's texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from jdq.cli.client import Client
from jdq.cli.submit.checks import checked_encoder
from jdq.cli.submit.data import data_argument, import_file, read_options, table_options
from jdq.cli.submit.dry_run import Show, dry_run_options
from jdq.cli.submit.sending import Sending, job_options, made_by, send
from jdq.worker.config import DEFAULT_ENCODER
from jdq.worker.encoder.options import AUTO, Precision, parse_poolings

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.queue.contract import Extract


class Poolings(click.ParamType[tuple[str, ...]]):
    """Poolings separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names; anything else is a usage error."""
        try:
            return parse_poolings(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@data_argument("FILE...")
@table_options()
@click.option("--unlabelled", is_flag=True, help="Import a table without labels.")
@click.option(
    "--encoder",
    help=f"Hub name, folder, or id of a fine-tune.  [default: $JDQ_ENCODER, else {DEFAULT_ENCODER}]",
)
@click.option(
    "--max-length",
    type=click.IntRange(min=3),
    help="Maximum number of tokens per text.  [default: the encoder's limit]",
)
@click.option("--name", help="Name of the dataset in the store.  [default: the file's name]")
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    help="Numeric precision of the forward pass. `fast` is the fastest whose features stay close to float32.",
)
@click.option(
    "--pooling",
    type=Poolings(),
    default=AUTO,
    show_default=True,
    help="Pooling of the hidden states: `cls`, the state at position 0, or `mean`, the mean over all tokens. `auto` is "
    "the encoder's own, else `cls`. `cls,mean` computes both in one pass.",
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="Fail the job on a text whose feature is not finite, or skip that text.",
)
@dry_run_options("Show what would be computed, and what it would cost; store and submit nothing.")
@job_options
def extract(
    data: tuple[str, ...],
    table: dict[str, Any],
    unlabelled: bool,
    encoder: str | None,
    max_length: int | None,
    name: str | None,
    precision: str | None,
    pooling: tuple[str, ...],
    on_error: Literal["fail", "skip"],
    dry_run: Show | None,
    sending: Sending,
) -> None:
    """Compute the features of the texts in FILE.

    FILE is a table (CSV, TSV, JSON, Parquet, Excel or ODS, compressed or not), a folder or pattern of tables, a URL,
    hf:OWNER/NAME of the Hugging Face hub, or - for standard input. Several files must have the same columns; a column
    `file` is added. Features that are in the store are not computed again.

    \b
    jdq submit extract data.csv --dry-run
    jdq submit extract data.csv
    jdq submit extract postings.csv --text-column description --label-column function --wait
    """
    client = Client()
    options = read_options(table, unlabelled=unlabelled)
    encoder = checked_encoder(client, encoder or client.config.encoder)

    def spec_for(version: DatasetVersion) -> Extract:
        wanted = {"max_length": max_length, "on_error": on_error, "pooling": pooling}
        return extraction(client, encoder, precision, version, **wanted)

    if dry_run is not None:
        dry_run(data, name, options, spec_for)
        return
    client.jobbook  # noqa: B018 - fails before the import where Redis does not answer
    spec = spec_for(import_file(client, data, name=name, options=options))
    send(client, spec, sending, after=made_by(client, encoder, "fine-tune"))


def extraction(client: Client, encoder: str, precision: str | None, version: DatasetVersion, **wanted: Any) -> Extract:
    """The job that computes the version's features."""
    from jdq.worker.queue.contract import Extract

    precision = precision or client.config.precision
    return Extract(dataset=version.name, version=version.version, encoder=encoder, precision=precision, **wanted)
