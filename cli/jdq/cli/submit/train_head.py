"""`jdq submit train-head`: a head on stored features, or a search for the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.submit.data import check_classes, label_options
from jdq.cli.submit.sending import Sending, job_options, send
from jdq.worker.heads.options import BEST_BY

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.queue.contract import HeadSearch

GRID = "grid"


@click.command("train-head")
@click.argument("dataset", required=False)
@click.option("--head", "heads", multiple=True, metavar="KIND", help="See below; with --search it may be repeated.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the head, e.g. C=0.1.")
@click.option("--label-column", help="The column to learn.  [default: the dataset's own]")
@label_options
@click.option("--class-weight", type=click.Choice(["balanced"]), help="Rare classes weigh as much as frequent ones.")
@click.option("--calibrate", is_flag=True, help="Make probabilities honest, on the validation part.")
@click.option("--cv", type=click.IntRange(min=2), metavar="K", help="Also cross-validate over K folds.")
@click.option("--per-class", type=click.IntRange(min=1), metavar="N", help="Few-shot: train on N texts of each class.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the head's training.")
@click.option("--version", metavar="V", help="A version of DATASET, or its first digits.  [default: extracted last]")
@click.option("--space", metavar="S", help="A feature space, or its first digits.  [default: extracted last]")
@click.option(
    "--search",
    is_flag=False,
    flag_value=GRID,
    metavar="[N]",
    help="Try a grid of heads and parameters, or N random trials (--search=50); keep the best.",
)
@click.option("--metric", default=BEST_BY, show_default=True, help="What a search goes by, e.g. accuracy, log_loss.")
@job_options
def train_head(
    dataset: str | None,
    heads: tuple[str, ...],
    label_column: str | None,
    labels_by: str | None,
    version: str | None,
    space: str | None,
    search: str | None,
    metric: str,
    sending: Sending,
    **options: Any,
) -> None:
    """Train a head on the stored features of DATASET, by default the one submitted last.

    Waits for the dataset's extraction if that still runs. Heads: logreg (the default), linear-svm, svm, mlp, knn,
    hist-gbm, random-forest, dummy, or the dotted name of a scikit-learn classifier that the workers allow.

    \b
    jdq submit train-head
    jdq submit train-head postings --head mlp --class-weight balanced --wait
    jdq submit train-head postings --search
    """
    from jdq.worker.queue.contract import TrainHead

    asked = _head_options(heads, labels_by, options, searching=search is not None)
    looked_for = None if search is None else _search(search, heads, metric)
    client = Client()
    found, found_space, after = _extracted(client, dataset, version)
    check_classes(found, label_column, labels_by)
    spec = TrainHead(
        dataset=found.name,
        version=found.version,
        space=client.store.open_space(space).digest if space else found_space,
        options=asked,
        label_column=label_column,
        search=looked_for,
    )
    send(client, spec, sending, after=after)


def _head_options(
    heads: tuple[str, ...], labels_by: str | None, options: dict[str, Any], *, searching: bool
) -> HeadOptions:
    """Raises UnknownHead, BadParameter, BadRequest."""
    from jdq.worker.heads.options import HeadOptions, check_head, parse_params

    for head in heads:
        check_head(head, allowed=[head] if "." in head else [])  # which dotted names are allowed the workers know
    if len(heads) > 1 and not searching:
        raise BadRequest("several --head go with --search: one job trains one head")
    if searching and options["params"]:
        raise BadRequest("--search chooses the parameters itself: leave out --param")
    params = parse_params(options.pop("params"))
    return HeadOptions(head=heads[0] if heads else "logreg", params=params, label_separator=labels_by, **options)


def _search(asked: str, heads: tuple[str, ...], metric: str) -> HeadSearch:
    from jdq.worker.queue.contract import HeadSearch

    if asked == GRID:
        return HeadSearch(heads=heads, metric=metric)
    if not asked.isdecimal() or int(asked) < 1:
        raise BadRequest(f"--search takes a number of random trials, not {asked!r}\n  try: --search=50")
    return HeadSearch(trials=int(asked), heads=heads, metric=metric)


def _extracted(
    client: Client, dataset: str | None, version: str | None
) -> tuple[DatasetVersion, str | None, list[str]]:
    """The dataset's version that was extracted last, its feature space where that is known, and the job to wait for."""
    from jdq.worker.queue.contract import Extract, JobState

    found = (
        job
        for job in client.jobbook.jobs()
        if isinstance(job.spec, Extract)
        and dataset in (None, job.spec.dataset)
        and (version is None or job.spec.version.startswith(version))
    )
    job = next(found, None)
    if job is None:
        return _extracted_long_ago(client, dataset, version)
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        raise BadRequest(f"the extraction of {job.spec.dataset}, {job.id}, {job.state}\n  try: jdq status {job.id}")
    space = job.result["space"] if job.result else None
    return (
        client.store.datasets.get(job.spec.dataset, job.spec.version),
        space,
        [] if job.state == JobState.SUCCEEDED else [job.id],
    )


def _extracted_long_ago(
    client: Client, dataset: str | None, version: str | None
) -> tuple[DatasetVersion, str | None, list[str]]:
    """By what the store remembers, where the queue has forgotten."""
    if dataset is None:
        raise BadRequest("nothing was extracted yet\n  try: jdq submit extract data.csv")
    found = client.store.datasets.get(dataset, version)
    if not found.spaces():
        raise BadRequest(f"dataset {dataset} has no features yet\n  try: jdq submit extract FILE --name {dataset}")
    return found, found.spaces()[0].space, []
