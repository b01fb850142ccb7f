"""`jdq submit fine-tune`: train the whole network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import Client
from jdq.cli.submit.checks import checked_encoder
from jdq.cli.submit.data import (
    check_classes,
    data_argument,
    files_or_dataset,
    label_options,
    read_options,
    table_options,
)
from jdq.cli.submit.sending import Sending, job_options, made_by, send
from jdq.cli.submit.split import Division, split_of, split_options
from jdq.worker.finetune.options import FineTuneOptions, check_options

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.queue.contract import FineTune


@click.command("fine-tune")
@data_argument("FILE...|DATASET")
@table_options()
@label_options
@click.option("--encoder", help="Hub name, folder, or id of a fine-tune.  [default: as for `submit extract`]")
@click.option("--name", help="Name of the dataset in the store.  [default: the file's name]")
@click.option("--epochs", type=int, default=3, show_default=True, help="Maximum number of epochs.")
@click.option("--lr", "learning_rate", type=float, default=5e-5, show_default=True, help="Peak learning rate.")
@click.option("--batch-size", type=int, default=16, show_default=True, help="Texts per step.")
@click.option("--max-length", type=int, help="Maximum number of tokens per text.  [default: the model's limit]")
@click.option(
    "--freeze", default="none", show_default=True, help="Layers to freeze: none, encoder, or the encoder's first N."
)
@click.option("--lora", type=int, metavar="RANK", help="Train only low-rank updates of the attention weights.")
@click.option(
    "--early-stopping", type=int, metavar="EPOCHS", help="Number of epochs without a better score after which to stop."
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Random seed for the classifier's weights and the order of texts.",
)
@click.option(
    "--checkpoint-every",
    "checkpoint_every_s",
    type=float,
    default=300,
    show_default=True,
    help="Seconds between checkpoints, in addition to those after each epoch.",
)
@split_options
@job_options
def fine_tune(
    data: tuple[str, ...],
    table: dict[str, Any],
    labels_by: str | None,
    encoder: str | None,
    name: str | None,
    division: Division,
    sending: Sending,
    **options: Any,
) -> None:
    """Train the whole network on a file or dataset.

    The best epoch is kept, as a plain Hugging Face folder: see `jdq models`. If a worker dies or is stopped, training
    resumes from the last checkpoint.

    \b
    jdq submit fine-tune data.csv --epochs 4 --wait
    jdq submit fine-tune postings --encoder facebook/bart-large --freeze 6 --lr 2e-5
    """
    client = Client()
    encoder = checked_encoder(client, encoder or client.config.encoder)
    fine_tune_options = FineTuneOptions(encoder=encoder, label_separator=labels_by, **options)
    check_options(fine_tune_options)
    client.jobbook  # noqa: B018 - fails before the import where Redis does not answer
    version = files_or_dataset(client, data, name=name, options=read_options(table))
    spec = fine_tune_spec(client, fine_tune_options, version, table["label_column"], division)
    send(client, spec, sending, after=made_by(client, encoder, "fine-tune"))


def fine_tune_spec(
    client: Client, options: FineTuneOptions, version: DatasetVersion, label_column: str | None, division: Division
) -> FineTune:
    """The job. Raises NoLabels, and the errors of `split_of`."""
    from jdq.worker.queue.contract import FineTune

    check_classes(version, label_column, options.label_separator, client.note)
    split = split_of(client, division, version, label_column)
    return FineTune(
        dataset=version.name, version=version.version, options=options, label_column=label_column, split=split
    )
