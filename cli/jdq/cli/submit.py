"""`jdq submit`: check the input, make the job, print its id."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.exits import Exit

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.contract import TrainHead
    from jdq.worker.heads.options import HeadOptions

wait_option = click.option("--wait", is_flag=True, help="Stay until the job ends; exit code 1 when it failed.")


@click.group()
def submit() -> None:
    """Submit a job; its id is printed on stdout."""


@submit.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--text-column", help="The column with the texts.  [default: `text`, or the only candidate]")
@click.option("--label-column", help="The column with the labels.  [default: `label`; none is fine]")
@click.option("--encoder", help="A hub name, or a folder.  [default: $JDQ_ENCODER, config.toml, facebook/bart-base]")
@click.option(
    "--max-length", type=click.IntRange(min=3), help="Tokens a text is cut to.  [default: the encoder's limit]"
)
@click.option("--name", help="The dataset's name in the store.  [default: the file's name]")
@click.option("--encoding", help="The file's encoding, where it is not UTF-8 or UTF-16 with a mark.")
@click.option("--separator", help="What stands between two cells.  [default: found in the first line]")
@click.option("--no-quotes", is_flag=True, help="Quote characters are text.")
@click.option("--unlabelled", is_flag=True, help="The table has no labels; do not look for a column of them.")
@click.option("--skip-empty", is_flag=True, help="Leave out rows without a text instead of refusing the file.")
@click.option(
    "--missing-labels",
    type=click.Choice(["error", "keep"]),
    default="error",
    show_default=True,
    help="Refuse a file with rows that have no label, or keep these rows: no head is trained on them.",
)
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16", "float8"]), help="Of the arithmetic.")
@wait_option
def extract(
    file: Path,
    name: str | None,
    encoder: str | None,
    max_length: int | None,
    precision: str | None,
    wait: bool,
    no_quotes: bool,
    skip_empty: bool,
    **table: Any,
) -> None:
    """Compute the features of the texts in FILE that the store does not have yet.

    \b
    jdq submit extract data.csv
    jdq submit extract postings.csv --text-column description --label-column function --wait
    """
    from jdq.store.table import TableOptions
    from jdq.worker.contract import Extract

    client = Client()
    client.jobbook  # noqa: B018 - no dataset is imported for a queue that does not answer
    options = TableOptions(
        quoting="none" if no_quotes else "standard", empty_text="skip" if skip_empty else "error", **table
    )
    version = client.store.datasets.import_table(file, name=name, options=options)
    for warning in version.source.warnings:
        click.echo(f"warning: {warning}", err=True)
    spec = Extract(
        dataset=version.name,
        version=version.version,
        encoder=encoder_name(encoder or client.config.encoder),
        max_length=max_length,
        precision=precision or client.config.precision,
    )
    job = client.submit(spec)
    click.echo(f"dataset {version.name} {version.version}: {version.n_rows:,} rows", err=True)
    _finish(client, job, wait)


@submit.command("train-head")
@click.argument("dataset", required=False)
@click.option("--head", default="logreg", show_default=True, help="The kind of head.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the head, e.g. C=0.1.")
@click.option("--label-column", help="The column to learn.  [default: the dataset's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the head's training.")
@wait_option
def train_head(
    dataset: str | None, head: str, params: tuple[str, ...], label_column: str | None, seed: int, wait: bool
) -> None:
    """Train a head on the stored features of DATASET, by default the one submitted last.

    Waits for the dataset's extraction if that still runs.

    \b
    jdq submit train-head
    jdq submit train-head postings --head mlp --wait
    """
    from jdq.worker.heads.options import HeadOptions, check_head, parse_params

    options = HeadOptions(head=check_head(head), params=parse_params(params), seed=seed)
    client = Client()
    spec, after = _train_head_spec(client, dataset, options, label_column)
    job = client.submit(spec, after=after)
    click.echo(f"dataset {spec.dataset} {spec.version}" + (f", after {after[0]}" if after else ""), err=True)
    _finish(client, job, wait)


def encoder_name(encoder: str) -> str:
    """A folder as an absolute path, so that workers find it; anything else is a hub name."""
    path = Path(encoder).expanduser()
    return str(path.resolve()) if path.is_dir() else encoder


def _train_head_spec(
    client: Client, dataset: str | None, options: HeadOptions, label_column: str | None
) -> tuple[TrainHead, list[str]]:
    """The job's specification, and the extraction that it must wait for. Raises BadRequest, NoLabels."""
    from jdq.worker.contract import TrainHead

    version, space, after = _extracted(client, dataset)
    version.check_labels(label_column)  # missing labels are said now, not by a worker
    spec = TrainHead(
        dataset=version.name, version=version.version, space=space, options=options, label_column=label_column
    )
    return spec, after


def _extracted(client: Client, dataset: str | None) -> tuple[DatasetVersion, str | None, list[str]]:
    """The dataset's version that was extracted last, its feature space where that is known, and the job to wait for."""
    from jdq.worker.contract import JobState

    found = (job for job in client.jobbook.jobs() if job.kind == "extract" and dataset in (None, job.spec.dataset))
    job = next(found, None)
    if job is None:
        return _extracted_long_ago(client, dataset)
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        raise BadRequest(f"the extraction of {job.spec.dataset}, {job.id}, {job.state}\n  try: jdq status {job.id}")
    version = client.store.datasets.get(job.spec.dataset, job.spec.version)
    space = job.result["space"] if job.result else None
    return version, space, [] if job.state == JobState.SUCCEEDED else [job.id]


def _extracted_long_ago(client: Client, dataset: str | None) -> tuple[DatasetVersion, str | None, list[str]]:
    """By what the store remembers, where the queue has forgotten."""
    if dataset is None:
        raise BadRequest("nothing was extracted yet\n  try: jdq submit extract data.csv")
    version = client.store.datasets.get(dataset)
    if not version.spaces():
        raise BadRequest(f"dataset {dataset} has no features yet\n  try: jdq submit extract FILE --name {dataset}")
    return version, version.spaces()[0].space, []


def _finish(client: Client, job: str, wait: bool) -> None:
    from jdq.worker.contract import JobState

    click.echo(job)
    if not wait:
        return
    from jdq.cli.watch import watch_job

    ended = watch_job(client, job)
    if ended.error:
        click.echo(f"jdq: {ended.error.message}", err=True)
    if ended.state != JobState.SUCCEEDED:
        sys.exit(Exit.FAILED)
