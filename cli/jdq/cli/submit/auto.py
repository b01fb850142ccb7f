"""`jdq submit auto`: from a labelled table to the best classifier for it, by ordinary jobs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from jdq.cli.submit.head_spec import head_options_of, head_spec
from jdq.cli.submit.sending import Sending, job_options, made_by, send, submitted
from jdq.cli.submit.split import Division, split_options
from jdq.worker.config import DEFAULT_ENCODER
from jdq.worker.finetune.options import FineTuneOptions

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.queue.contract import FineTune, TrainHead
    from jdq.worker.queue.records import Job

# Of 210 questions in six classes, three epochs of MiniLM had 35 % right, and twenty 82 % (Mosbach et al., 2021, "On the
# Stability of Fine-tuning BERT").
LEAST_STEPS, MOST_EPOCHS = 1000, 20


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
    help="Fine-tune the encoder, too: `auto` does so after the head, if the forecast says that it could pay off.",
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
    fine-tune, with 95 % intervals: see `jdq result`. Only --fine-tune auto starts a fine-tune; its model is recommended
    only if a paired test on the test part says that it is better than the head.

    \b
    jdq submit auto data.csv --wait
    jdq submit auto postings --fine-tune auto
    """
    client = Client()
    encoder = checked_encoder(client, encoder or client.config.encoder)
    client.jobbook  # noqa: B018 - fails before the import where Redis does not answer
    version = files_or_dataset(client, data, name=name, options=read_options(table))
    wanted = (version, encoder, table["label_column"], labels_by, division)
    spec, waits_for = auto_spec(client, *wanted, after=sending.after, priority=sending.priority)
    tuned = encoder if fine_tune == "auto" else None
    head = send(client, spec, replace(sending, wait=sending.wait or tuned is not None), after=waits_for)
    if head is None:
        return
    best = best_of(client, head, tuned, lambda spec: send(client, spec, replace(sending, wait=True)))
    option = "--head" if best == head.id else "--model"
    say(f"the best: {best}\n  to classify with it: jdq submit predict FILE {option} {best}", err=True)


def auto_spec(
    client: Client,
    version: DatasetVersion,
    encoder: str,
    label_column: str | None,
    label_separator: str | None,
    division: Division,
    *,
    after: Sequence[str] = (),
    priority: str | None = None,
) -> tuple[TrainHead, list[str]]:
    """Submits the extraction. Returns the job of the head, with a forecast, and the jobs that it waits for.

    Raises NoLabels, and the errors of `head_spec`.
    """
    check_classes(version, label_column, label_separator)
    first = [*made_by(client, encoder, "fine-tune"), *after]
    submitted(client, extraction(client, encoder, None, version), after=first, priority=priority)
    options = head_options_of((), label_separator, {}, searching=False)
    of = (version.name, version.version, None, label_column, None, division)
    spec, waits_for = head_spec(client, options, *of)
    return msgspec.structs.replace(spec, forecast=True), waits_for


def best_of(client: Client, head: Job, encoder: str | None, run: Callable[[FineTune], Job | None]) -> str:
    """The id of the head, or of the fine-tune if by the forecast it could pay off and by a paired test it does.

    encoder: the one to fine-tune; None for no fine-tune. run: returns the fine-tune once it has succeeded.
    """
    result = head.result or {}
    for line in forecast_lines(result) or ["no forecast: there are too few rows to train on a part of them"]:
        client.note(line)
    pays = (result.get("forecast") or {}).get("pays")
    made = run(_fine_tune(head, encoder)) if encoder is not None and pays else None
    return head.id if made is None else _better(client, head.id, made.id)


def _fine_tune(head: Job, encoder: str) -> FineTune:
    """A fine-tune that is trained and tested on the same rows as the head, for enough epochs if there are few rows."""
    from jdq.worker.queue.contract import FineTune

    usual = FineTuneOptions(encoder=encoder, label_separator=head.spec.options.label_separator)  # type: ignore[union-attr]
    epochs = math.ceil(LEAST_STEPS * usual.batch_size / (head.result or {})["rows"]["train"])
    options = msgspec.structs.replace(usual, epochs=min(MOST_EPOCHS, max(usual.epochs, epochs)))
    of = {name: getattr(head.spec, name) for name in ("dataset", "version", "label_column", "split")}
    return FineTune(options=options, **of)


def _better(client: Client, head: str, model: str) -> str:
    """The fine-tune if it is better in the paired test on the test part, else the head."""
    from jdq.worker.report.comparison import pick

    picked, test = pick(client.store, head, model)
    if test is not None:
        span = f"{test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f}), p = {test.p_value:.2g}"
        client.note(f"macro-F1 of the fine-tune minus that of the head: {span}")
    return picked
