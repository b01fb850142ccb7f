"""`jdq submit extract`: the features of a file's texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from jdq.cli.client import Client
from jdq.cli.submit.data import encoder_name, import_file, table_options
from jdq.cli.submit.sending import Sending, job_options, made_by, send
from jdq.worker.config import CHOICES


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@table_options()
@click.option("--unlabelled", is_flag=True, help="The table has no labels; do not look for a column of them.")
@click.option(
    "--encoder",
    help="A hub name, a folder, or the id of a fine-tune.  [default: $JDQ_ENCODER, config.toml, facebook/bart-base]",
)
@click.option(
    "--max-length", type=click.IntRange(min=3), help="Tokens a text is cut to.  [default: the encoder's limit]"
)
@click.option("--name", help="The dataset's name in the store.  [default: the file's name]")
@click.option("--precision", type=click.Choice(CHOICES["precision"]), help="Of the arithmetic.")
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What a text without a finite feature does to the job.",
)
@job_options
def extract(
    file: Path,
    table: dict[str, Any],
    unlabelled: bool,
    encoder: str | None,
    max_length: int | None,
    name: str | None,
    precision: str | None,
    on_error: Literal["fail", "skip"],
    sending: Sending,
) -> None:
    """Compute the features of the texts in FILE that the store does not have yet.

    \b
    jdq submit extract data.csv
    jdq submit extract postings.csv --text-column description --label-column function --wait
    """
    from jdq.worker.queue.contract import Extract

    client = Client()
    version = import_file(client, file, name=name, table=table, command="jdq submit extract", unlabelled=unlabelled)
    encoder = encoder_name(encoder or client.config.encoder)
    spec = Extract(
        dataset=version.name,
        version=version.version,
        encoder=encoder,
        max_length=max_length,
        precision=precision or client.config.precision,
        on_error=on_error,
    )
    send(client, spec, sending, after=made_by(client, encoder, "fine-tune"))
