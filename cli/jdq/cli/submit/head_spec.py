"""What a head is trained on and how: checked options, and the dataset's features or the job that computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jdq.cli.client import BadRequest, Client
from jdq.cli.jobs.history import UNITS, seconds_of
from jdq.cli.submit.checks import check_classifiers
from jdq.cli.submit.data import check_classes
from jdq.cli.submit.split import NO_DIVISION, Division, split_of, test_features

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.heads.options import HeadOptions, ParameterValue
    from jdq.worker.queue.contract import HeadSearch, TrainHead
    from jdq.worker.queue.records import Job

GRID = "grid"


def head_spec(
    client: Client,
    options: HeadOptions,
    dataset: str | None,
    version: str | None,
    space: str | None,
    label_column: str | None,
    search: HeadSearch | None,
    division: Division = NO_DIVISION,
    repeats: int = 1,
) -> tuple[TrainHead, list[str]]:
    """The job and those that it waits for; missing features of a test set are extracted.

    Raises BadRequest, NoLabels, HeadError, and the store's errors about unknown names.
    """
    from jdq.worker.queue.contract import TrainHead

    check_classifiers(client.config, search.heads if search else [options.head])
    extracted, extracted_space, after = features_of(client, dataset, version, space)
    check_classes(extracted, label_column, options.label_separator, client.note)
    split = split_of(client, division, extracted, label_column)
    if repeats < 1:
        raise BadRequest(f"--repeats must be at least 1, not {repeats}")
    if repeats > 1 and split.given:
        raise BadRequest(f"--repeats draws other splits, but {split.name} decides which rows are tested")
    if extraction := test_features(client, split, extracted, extracted_space, after):
        after = [*after, client.submit(extraction, after=after)]
        client.note(f"job {after[-1]} extracts the test set {split.test_dataset}")
    spec = TrainHead(
        dataset=extracted.name,
        version=extracted.version,
        space=extracted_space,
        options=options,
        label_column=label_column,
        search=search,
        split=split,
        repeats=repeats,
    )
    return spec, after


def head_options_of(
    heads: Sequence[str],
    labels_by: str | None,
    params: dict[str, ParameterValue],
    *,
    searching: bool,
    **options: Any,
) -> HeadOptions:
    """The options of a head, or of all trials of a search. Raises UnknownHead, BadParameter, BadRequest."""
    from jdq.worker.heads.options import DEFAULT_HEAD, HeadOptions, check_head, check_params

    for head in heads:
        check_head(head, allowed=[head] if "." in head else [])  # only the workers know which classifiers are allowed
    if len(heads) > 1 and not searching:
        named = " ".join(f"--head {head}" for head in heads)
        raise BadRequest(
            f"a job trains one head; a search compares several\n  try: jdq submit train-head --search {named}"
        )
    head = heads[0] if heads else DEFAULT_HEAD
    check_params(head, params)
    return HeadOptions(head=head, params=params, label_separator=labels_by, **options)


def search_of(trials: str, heads: tuple[str, ...], metric: str, *, multi_label: bool = False) -> HeadSearch:
    """GRID, a number of random trials, or a time such as 10m. Raises BadRequest."""
    from jdq.worker.heads.options import check_metric
    from jdq.worker.queue.contract import HeadSearch

    check_metric(metric, multi_label=multi_label)
    if trials == GRID:
        return HeadSearch(heads=heads, metric=metric)
    if trials[-1:] in UNITS:
        return HeadSearch(time_s=seconds_of(trials, "--search"), heads=heads, metric=metric)
    if not trials.isdecimal() or int(trials) < 1:
        raise BadRequest(
            f"--search takes a number of random trials or a time, not {trials!r}\n  try: --search=50, or --search=10m"
        )
    return HeadSearch(trials=int(trials), heads=heads, metric=metric)


def features_of(
    client: Client, dataset: str | None, version: str | None, space: str | None
) -> tuple[DatasetVersion, str | None, list[str]]:
    """The dataset version, its feature space if known, and the job to wait for.

    Those of the last extraction that has not failed; a feature space that the user named needs no extraction.
    """
    from jdq.store.datasets.names import is_passing
    from jdq.worker.queue.contract import Extract, JobState

    digest = client.store.open_space(space).digest if space else None
    if digest and dataset:
        return _version_in(client, dataset, version, digest), digest, []
    extractions = (
        job
        for job in client.jobbook.newest()
        if isinstance(job.spec, Extract)
        and (job.spec.dataset == dataset or (dataset is None and not is_passing(job.spec.dataset)))
        and (version is None or job.spec.version.startswith(version))
    )
    skipped: list[Job] = []
    while (job := next(extractions, None)) and job.state in (JobState.FAILED, JobState.CANCELLED):
        skipped.append(job)
    if job is None:
        return _extracted_before(client, dataset, version, ended=skipped)
    if skipped:
        last = skipped[0]
        client.note(f"the last extraction, {last.id}, {last.state}; using the features of {job.id}")
    extracted = client.store.datasets.get(job.spec.dataset, job.spec.version)
    if digest or job.state == JobState.SUCCEEDED:
        return extracted, digest or (job.result["space"] if job.result else None), []
    return extracted, None, [job.id]


def _version_in(client: Client, dataset: str, version: str | None, space: str) -> DatasetVersion:
    """The newest version that was extracted in the space, else the newest; or the requested version."""
    if version is None:
        versions = [each for each in client.store.datasets.list() if each.name == dataset]
        version = next((v.version for v in versions if any(made.space == space for made in v.spaces())), None)
    return client.store.datasets.get(dataset, version)


def _extracted_before(
    client: Client, dataset: str | None, version: str | None, *, ended: list[Job]
) -> tuple[DatasetVersion, str | None, list[str]]:
    """The same by the store's records, if the queue has no such job, or only jobs that did not succeed."""
    failed = f"the extraction of {ended[0].spec.dataset}, {ended[0].id}, {ended[0].state}" if ended else ""
    if dataset is None and ended:
        dataset = ended[0].spec.dataset
    if dataset is None:
        raise BadRequest("no dataset has been extracted yet\n  try: jdq submit extract data.csv")
    extracted = client.store.datasets.get(dataset, version)
    if extracted.spaces():
        if failed:
            client.note(f"{failed}; using the features of {extracted.spaces()[0].encoder} in the store")
        return extracted, extracted.spaces()[0].space, []
    if failed:
        raise BadRequest(f"{failed}\n  try: jdq status {ended[0].id}")
    raise BadRequest(f"dataset {dataset} has no features yet\n  try: jdq submit extract FILE --name {dataset}")
