"""`jdq submit auto`: from a labelled table to the best classifier for it, by the ordinary jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import msgspec

from jdq.cli.client import Client
from jdq.cli.jobs.results import forecast_lines
from jdq.cli.output import say
from jdq.cli.submit.checks import checked_encoder
from jdq.cli.submit.data import (
    check_classes,
    data_argument,
    files_or_dataset,
    label_options,
    read_options,
    table_options,
)
from jdq.cli.submit.extract import extraction
from jdq.cli.submit.fine_tune import fine_tune_spec
from jdq.cli.submit.head_spec import head_options_of, head_spec
from jdq.cli.submit.sending import Sending, job_options, made_by, send, submitted
from jdq.cli.submit.split import Division, split_options
from jdq.worker.config import DEFAULT_ENCODER
from jdq.worker.finetune.options import FineTuneOptions

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job


@click.command()
@data_argument("FILE...|DATASET")
@table_options()
@label_options
@click.option("--encoder", help=f"Hub name or folder.  [default: $JDQ_ENCODER, else {DEFAULT_ENCODER}]")
@click.option("--name", help="Name of the dataset in the store.  [default: the file's name]")
@click.option(
    "--fine-tune",
    type=click.Choice(["no", "auto"]),
    default="no",
    show_default=True,
    help="Fine-tune the encoder, too: `auto` waits for the head, and does so if the forecast says that it could pay.",
)
@split_options
@job_options
def auto(
    data: tuple[str, ...],
    table: dict[str, Any],
    labels_by: str | None,
    encoder: str | None,
    name: str | None,
    fine_tune: str,
    division: Division,
    sending: Sending,
) -> None:
    """Find the best classifier for a file or dataset.

    Computes the features, trains the default head (words, features, or both, as cross-validation chooses), measures
    it beside the most frequent class and TF-IDF, and forecasts the accuracy after 1,000 more labels and after a
    fine-tune, with 95 % intervals: see `jdq result`. No fine-tune starts without --fine-tune auto; its model is
    recommended only if a paired test on the test part says that it is better than the head.

    \b
    jdq submit auto data.csv --wait
    jdq submit auto postings --fine-tune auto
    """
    client = Client()
    encoder = checked_encoder(client, encoder or client.config.encoder)
    options = head_options_of((), labels_by, {}, searching=False)
    client.jobbook  # noqa: B018 - fails before the import where Redis does not answer
    version = files_or_dataset(client, data, name=name, options=read_options(table))
    column = table["label_column"]
    check_classes(version, column, labels_by)
    first = [*made_by(client, encoder, "fine-tune"), *sending.after]
    submitted(client, extraction(client, encoder, None, version), after=first, priority=sending.priority)
    spec, after = head_spec(client, options, version.name, version.version, None, column, None, division)
    asked = msgspec.structs.replace(spec, forecast=True)
    tuning = fine_tune == "auto"
    head = send(client, asked, replace(sending, wait=sending.wait or tuning), after=after)
    if head is None:
        return
    best = head
    if _pays(head) and tuning:
        tuned = FineTuneOptions(encoder=encoder, label_separator=labels_by)
        made = send(client, fine_tune_spec(client, tuned, version, column, division), replace(sending, wait=True))
        best = _better(client, head, made) if made else head
    option = "--head" if best is head else "--model"
    say(f"the best: {best.id}\n  to classify with it: jdq submit predict FILE {option} {best.id}", err=True)


def _pays(head: Job) -> bool:
    """Prints the forecast; whether it says that a fine-tune could pay."""
    result = head.result or {}
    for line in forecast_lines(result) or ["no forecast: there are too few rows to train on a part of them"]:
        say(line, err=True)
    return bool((result.get("forecast") or {}).get("pays"))


def _better(client: Client, head: Job, model: Job) -> Job:
    """The fine-tune where it is better in the paired test on the test part, else the head."""
    from jdq.worker.report.comparison import pick

    picked, test = pick(client.store, head.id, model.id)
    if test is not None:
        span = f"{test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f}), p = {test.p_value:.2g}"
        say(f"macro-F1 of the fine-tune less the head's: {span}", err=True)
    return model if picked == model.id else head
