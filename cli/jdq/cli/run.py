"""`jdq run`: from a table to a report and predictions in one folder, by ordinary jobs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.jobs.tables import Target, copy_table
from jdq.cli.output import say
from jdq.cli.paths import check_writable
from jdq.cli.programs import require_worker_packages
from jdq.cli.submit.checks import checked_encoder
from jdq.cli.submit.data import assumptions, check_classes, data_argument, import_file, read_options, table_options
from jdq.cli.submit.sending import watched
from jdq.cli.trained.compare import print_comparison, write_comparison
from jdq.cli.trained.report import write_report
from jdq.worker.config import DEFAULT_ENCODER
from jdq.worker.report.comparison_row import METRICS

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.store.table import TableOptions
    from jdq.worker.queue.contract import Spec
    from jdq.worker.queue.records import Job
    from jdq.worker.report.comparison import Comparison

# These take seconds each; the other kinds take minutes on many rows, and are rarely better.
SEARCHED = ("tf-idf", "linear", "hybrid")


@click.command()
@data_argument("FILE...")
@click.option(
    "--predict",
    "to_predict",
    type=click.Path(exists=True, dir_okay=False),
    metavar="NEW",
    help="Table to classify with the best head; read with the same options.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write.  [default: the dataset's name and `-results`]",
)
@click.option("--encoder", help=f"Hub name or folder.  [default: $JDQ_ENCODER, else {DEFAULT_ENCODER}]")
@table_options()
def run(
    data: tuple[str, ...], to_predict: str | None, output: Path | None, encoder: str | None, table: dict[str, Any]
) -> None:
    """Go from a labelled table to a report.

    Starts the local stack if it is not running, computes the features, trains the default head and, for comparison, the
    best of a small search, and writes report.html, comparison.csv, README.md and, with --predict, predictions.csv into
    one folder, which it prints. Every step is an ordinary job (see `jdq jobs`). If interrupted, run the same command
    again: nothing is computed twice.

    \b
    jdq run data.csv
    jdq run postings.csv --predict new.csv -o results
    """
    client = Client()
    if client.config.embedded:
        require_worker_packages()
    encoder = checked_encoder(client, encoder or client.config.encoder)
    options = read_options(table)
    version = import_file(client, data, name=None, options=options)
    _check_label_column(version, options, Path(data[0]))
    check_classes(version, None, None)
    new = _import_new(client, to_predict, version, table) if to_predict else None
    folder = _made(output or Path(f"{version.name}-results"))
    try:
        _bring_up(client)
        jobs = _run_jobs(client, version, new, encoder)
    except KeyboardInterrupt:
        say("  to continue all of it: repeat the same jdq run", err=True)
        raise
    comparison = _write(client, folder, jobs)
    write_report(client, jobs.head.id, folder / "report.html")
    command = options.try_with(Path(data[0])).removeprefix("\n  try: ")
    _write_readme(folder, command, version, jobs, comparison)
    print_comparison(comparison)
    say(str(folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The jobs of one run, all succeeded. The report and the predictions are of the default head."""

    extract: Job
    head: Job
    search: Job
    predict: Job | None


def _check_label_column(version: DatasetVersion, options: TableOptions, file: Path) -> None:
    """Raises BadRequest if no label column was found; suggests the column with the fewest classes."""
    if version.label_column is not None:
        return
    rows = next(version.blocks())
    others = [name for name in version.columns if name not in (version.text_column, *options.text_columns)]
    classes = {name: rows[name].nunique() for name in others if rows[name].nunique() > 1}
    suggestion = options.try_with(file, "--label-column", min(classes, key=classes.__getitem__)) if classes else ""
    raise BadRequest(f"no column 'label' in {file}; it has: {', '.join(version.columns)}{suggestion}")


def _import_new(client: Client, file: str, version: DatasetVersion, table: dict[str, Any]) -> DatasetVersion:
    """The table to classify, read like the other one, from the same text column."""
    from jdq.store.datasets.names import PREDICTED, name_from
    from jdq.store.table import table_name

    same = {"text_column": table["text_column"] or (version.text_column,), "label_column": None}
    options: TableOptions = read_options(table | same, unlabelled=True, keep_empty=True)
    # If that fails, the table can still be classified with the head of a run without --predict.
    options = dataclasses.replace(
        options, can_be_unlabelled=False, command="jdq submit predict --head @last", typed=(file,)
    )
    return import_file(client, [file], name=name_from(f"{PREDICTED}{table_name([file])}"), options=options)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"cannot create the folder {folder}: {error.strerror}") from None
    check_writable(folder / "README.md")
    return folder


def _bring_up(client: Client) -> None:
    from jdq.cli.stack.control import bring_up

    if client.config.embedded:
        _, done = bring_up(client.config)
        if done == "started":
            say("the local stack is up; to stop it: jdq down", err=True)


def _run_jobs(client: Client, version: DatasetVersion, new: DatasetVersion | None, encoder: str) -> Jobs:
    """Submits the jobs that have not run yet, and waits for all of them."""
    from jdq.worker.heads.options import DEFAULT_HEAD, HeadOptions
    from jdq.worker.queue.contract import Extract, HeadSearch, Predict, TrainHead

    name, digest = version.name, version.version
    wanted = Extract(dataset=name, version=digest, encoder=encoder, precision=client.config.precision)
    extract = watched(client, ensure(client, wanted))
    space = (extract.result or {})["space"]
    head_id = ensure(
        client, TrainHead(dataset=name, version=digest, space=space, options=HeadOptions(head=DEFAULT_HEAD))
    )
    search_spec = TrainHead(dataset=name, version=digest, space=space, search=HeadSearch(heads=SEARCHED))
    search_id = ensure(client, search_spec)
    head, search = watched(client, head_id), watched(client, search_id)
    predict = None
    if new is not None:
        spec = Predict(dataset=new.name, version=new.version, head=head_id)
        predict = watched(client, ensure(client, spec))
    return Jobs(extract=extract, head=head, search=search, predict=predict)


def ensure(client: Client, spec: Spec) -> str:
    """The id of the newest job with this specification that is under way or has its result, else of a new one."""
    for job in client.jobbook.jobs():
        if job.spec == spec and _still_counts(client, job):
            say(f"{job.id}  submitted before", err=True)
            return job.id
    return client.submit(spec)


def _still_counts(client: Client, job: Job) -> bool:
    from jdq.store.job_files import JobFiles
    from jdq.store.trained import Heads
    from jdq.worker.queue.contract import JobState

    if job.state in (JobState.QUEUED, JobState.RUNNING):
        return True
    if job.state != JobState.SUCCEEDED:
        return False
    match job.kind:
        case "train-head":
            return Heads(client.store.root).has(job.id)
        case "predict":
            return (JobFiles(client.store.root).folder(job.id) / "predictions.csv").is_file()
    # An extraction computes only what the store lacks, and notices an encoder whose files have changed.
    return False


def _write(client: Client, folder: Path, jobs: Jobs) -> Comparison:
    """The tables: the comparison, and the predictions if there are any."""
    from jdq.worker.report.comparison import compare_dataset

    comparison = compare_dataset(client.store, jobs.head.spec.dataset, version=jobs.head.spec.version)
    write_comparison(comparison, Target(path=folder / "comparison.csv", force=True))
    if jobs.predict is not None:
        copy_table(client, jobs.predict, Target(path=folder / "predictions.csv", force=True))
    return comparison


def _write_readme(folder: Path, command: str, version: DatasetVersion, jobs: Jobs, comparison: Comparison) -> None:
    from jdq.store.files.publish import replace

    replace(folder / "README.md", readme(command, assumptions(version), jobs, comparison).encode())


def readme(command: str, assumed: str, jobs: Jobs, comparison: Comparison) -> str:
    """What was done, as Markdown."""
    extracted, head = jobs.extract.result or {}, jobs.head.id
    tried = (jobs.search.result or {})["search"]["trials"]
    scores = [
        f"| {row.id} | {row.name} | " + " | ".join(_number(row.metrics[name]) for name in METRICS) + " |"
        for row in comparison.rows
        if row.comparable
    ]
    done = [
        f"- `{jobs.extract.id}` computed the features: {extracted['encoder']}, pooling {extracted['pooling']}, "
        f"{extracted['precision']}, {extracted['rows']:,} rows of {extracted['dim']:,} numbers.",
        f"- `{head}` trained the default head, chosen by cross-validation over the rows that are not for testing.",
        f"- `{jobs.search.id}` tried {len(tried)} kinds of heads by cross-validation over the train part, and took the "
        "simplest of the best.",
    ]
    if jobs.predict is not None:
        done.append(f"- `{jobs.predict.id}` classified {jobs.predict.spec.dataset} with `{head}`: `predictions.csv`.")
    return "\n".join(
        [
            f"# {comparison.dataset}",
            "",
            f"Written by `{command}`.",
            "",
            f"Read as: {assumed}.",
            "",
            *done,
            "",
            f"`report.html` and the predictions are of `{head}`, which was chosen without the test part.",
            "",
            "## Scores on the test part",
            "",
            f"| job | what | {' | '.join(METRICS.values())} |",
            "|---|---|" + "---:|" * len(METRICS),
            *scores,
            "",
            "`comparison.csv` has them with their 95 % intervals.",
            "",
            "## Continue",
            "",
            "```sh",
            f'jdq predict "a text" --head {head}',
            f"jdq submit train-head {comparison.dataset} --search    # more kinds of heads",
            f"jdq submit fine-tune {comparison.dataset}              # the whole network, on the same split",
            f"jdq compare {comparison.dataset}",
            "jdq down    # stop the local stack",
            "```",
            "",
        ]
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
