"""`jdq submit train-head`: train a head on stored features, or search for the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import DATASET, HEAD_KIND
from jdq.cli.output import say
from jdq.cli.submit.checks import check_classifiers
from jdq.cli.submit.data import check_classes, label_options
from jdq.cli.submit.sending import Sending, job_options, send
from jdq.worker.heads.options import BEST_BY

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.queue.contract import HeadSearch
    from jdq.worker.queue.records import Job

GRID = "grid"


@click.command("train-head")
@click.argument("dataset", type=DATASET, required=False)
@click.option(
    "--head",
    "heads",
    type=HEAD_KIND,
    multiple=True,
    metavar="KIND",
    help="Kind of head (see above); may be repeated with --search.",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Parameter of the head, such as C=0.1; may be repeated.",
)
@click.option("--label-column", help="Column with the labels.  [default: the dataset's own]")
@label_options
@click.option("--class-weight", type=click.Choice(["balanced"]), help="Weight rare classes as much as frequent ones.")
@click.option("--calibrate", is_flag=True, help="Calibrate the probabilities on the validation part.")
@click.option(
    "--cv", type=click.IntRange(min=2), metavar="K", help="Number of folds for an additional cross-validation."
)
@click.option(
    "--per-class", type=click.IntRange(min=1), metavar="N", help="Train on only N texts per class (few-shot)."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed for training.")
@click.option("--version", metavar="V", help="Version of DATASET, or its first digits.  [default: extracted last]")
@click.option("--space", metavar="S", help="Feature space, or its first digits.  [default: extracted last]")
@click.option(
    "--search",
    is_flag=False,
    flag_value=GRID,
    metavar="[N]",
    help="Search a grid of heads and parameters, or N random trials (--search=50), for the best head.",
)
@click.option(
    "--metric",
    default=BEST_BY,
    show_default=True,
    help="Metric that a search optimizes, such as accuracy or log_loss.",
)
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
    """Train a head on the features of DATASET.

    The default is the dataset extracted last. The job waits for a running extraction of the dataset. Kinds of heads:
    logreg (the default), linear-svm, svm, mlp, knn, hist-gbm, random-forest, dummy, or the dotted name of a
    scikit-learn classifier that the workers allow.

    \b
    jdq submit train-head
    jdq submit train-head postings --head mlp --class-weight balanced --wait
    jdq submit train-head postings --search
    """
    from jdq.worker.queue.contract import TrainHead

    head_options = _head_options(heads, labels_by, options, searching=search is not None)
    head_search = None if search is None else _search(search, heads, metric)
    client = Client()
    check_classifiers(client.config, heads)
    extracted, extracted_space, after = _extracted(client, dataset, version, space)
    check_classes(extracted, label_column, labels_by)
    spec = TrainHead(
        dataset=extracted.name,
        version=extracted.version,
        space=extracted_space,
        options=head_options,
        label_column=label_column,
        search=head_search,
    )
    send(client, spec, sending, after=after)


def _head_options(
    heads: tuple[str, ...], labels_by: str | None, options: dict[str, Any], *, searching: bool
) -> HeadOptions:
    """Raises UnknownHead, BadParameter, BadRequest."""
    from jdq.worker.heads.options import HeadOptions, check_head, check_params, parse_params

    for head in heads:
        check_head(head, allowed=[head] if "." in head else [])  # only the workers know which dotted names are allowed
    if len(heads) > 1 and not searching:
        named = " ".join(f"--head {head}" for head in heads)
        raise BadRequest(
            f"a job trains one head; a search compares several\n  try: jdq submit train-head --search {named}"
        )
    if searching and options["params"]:
        raise BadRequest("--search chooses the parameters itself: leave out --param")
    params = parse_params(options.pop("params"))
    check_params(heads[0] if heads else "logreg", params)
    return HeadOptions(head=heads[0] if heads else "logreg", params=params, label_separator=labels_by, **options)


def _search(trials: str, heads: tuple[str, ...], metric: str) -> HeadSearch:
    from jdq.worker.heads.options import check_metric
    from jdq.worker.queue.contract import HeadSearch

    check_metric(metric)
    if trials == GRID:
        return HeadSearch(heads=heads, metric=metric)
    if not trials.isdecimal() or int(trials) < 1:
        raise BadRequest(f"--search takes a number of random trials, not {trials!r}\n  try: --search=50")
    return HeadSearch(trials=int(trials), heads=heads, metric=metric)


def _extracted(
    client: Client, dataset: str | None, version: str | None, space: str | None
) -> tuple[DatasetVersion, str | None, list[str]]:
    """The dataset version, its feature space where known, and the job to wait for.

    Those of the last extraction that has not failed; a feature space that the user named needs no extraction.
    """
    from jdq.worker.queue.contract import Extract, JobState

    digest = client.store.open_space(space).digest if space else None
    if digest and dataset:
        return _version_in(client, dataset, version, digest), digest, []
    extractions = [
        job
        for job in client.jobbook.jobs()
        if isinstance(job.spec, Extract)
        and dataset in (None, job.spec.dataset)
        and (version is None or job.spec.version.startswith(version))
    ]
    usable = [job for job in extractions if job.state not in (JobState.FAILED, JobState.CANCELLED)]
    if not usable:
        return _extracted_before(client, dataset, version, ended=extractions)
    job = usable[0]
    if job is not extractions[0]:
        skipped = extractions[0]
        say(f"the last extraction, {skipped.id}, {skipped.state}; the features are those of {job.id}", err=True)
    extracted = client.store.datasets.get(job.spec.dataset, job.spec.version)
    if digest or job.state == JobState.SUCCEEDED:
        return extracted, digest or (job.result["space"] if job.result else None), []
    return extracted, None, [job.id]


def _version_in(client: Client, dataset: str, version: str | None, space: str) -> DatasetVersion:
    """The newest version that was extracted in the space, else the newest; or the version that was asked for."""
    if version is None:
        versions = [each for each in client.store.datasets.list() if each.name == dataset]
        version = next((v.version for v in versions if any(made.space == space for made in v.spaces())), None)
    return client.store.datasets.get(dataset, version)


def _extracted_before(
    client: Client, dataset: str | None, version: str | None, *, ended: list[Job]
) -> tuple[DatasetVersion, str | None, list[str]]:
    """The same by the store's records, where the queue has no such job, or only those that ended without success."""
    failed = f"the extraction of {ended[0].spec.dataset}, {ended[0].id}, {ended[0].state}" if ended else ""
    if dataset is None and ended:
        dataset = ended[0].spec.dataset
    if dataset is None:
        raise BadRequest("no dataset was extracted yet\n  try: jdq submit extract data.csv")
    extracted = client.store.datasets.get(dataset, version)
    if extracted.spaces():
        if failed:
            say(f"{failed}; the features are those of {extracted.spaces()[0].encoder} in the store", err=True)
        return extracted, extracted.spaces()[0].space, []
    if failed:
        raise BadRequest(f"{failed}\n  try: jdq status {ended[0].id}")
    raise BadRequest(f"dataset {dataset} has no features yet\n  try: jdq submit extract FILE --name {dataset}")
