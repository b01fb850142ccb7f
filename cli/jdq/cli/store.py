"""`jdq store`: list, check, clean and export what is stored."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jdq.cli.client import Client
from jdq.cli.ids import DATASET, DATASET_OR_SPACE, SPACE, VERSION
from jdq.cli.output import counted, json_option, print_json, print_table, say, size
from jdq.worker.queue.exit_codes import ExitCode

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.store.maintenance.listing import DatasetSummary, SpaceSummary
    from jdq.store.maintenance.verify import VerifyReport

DATASET_COLUMNS = ("dataset", "version", "rows", "label", "classes", "features")
SPACE_COLUMNS = ("space", "encoder", "dim", "rows", "shards", "size")

version_option = click.option(
    "--version", type=VERSION, metavar="V", help="Version, or its first digits.  [default: the newest]"
)
space_option = click.option(
    "--space", type=SPACE, metavar="S", help="Feature space, or its first digits.  [default: extracted last]"
)


@click.group()
def store() -> None:
    """List, check, clean and export what is stored.

    The store is the folder $JDQ_STORE, else `store` in $JDQ_HOME/config.toml, else $JDQ_HOME/store, by default
    ~/.jdq/store.
    """


@store.command("ls")
@click.option("--all", "everything", is_flag=True, help="List tables that were imported only for predictions, too.")
@json_option
def list_(everything: bool, as_json: bool) -> None:
    """List datasets and feature spaces.

    For each feature space, a dataset is "complete", or the number of missing rows is given.
    """
    from jdq.store.maintenance.listing import list_store

    summary = list_store(Client().existing_store, everything=everything)
    if as_json:
        print_json(asdict(summary))
        return
    if summary.datasets:
        print_table(DATASET_COLUMNS, list(map(dataset_row, summary.datasets)))
    if summary.spaces:
        say()
        print_table(SPACE_COLUMNS, list(map(space_row, summary.spaces)))
    if summary.left_out:
        tables = counted(summary.left_out, "table")
        say(f"{tables} imported only for predictions not listed; to list all: jdq store ls --all", err=True)
    elif not summary.datasets and not summary.spaces:
        say(f"the store {summary.root} is empty", err=True)
    for damage in summary.damaged:
        say(damage, err=True)


@store.command()
@click.argument("name", type=DATASET_OR_SPACE, metavar="DATASET|SPACE")
@version_option
@json_option
def show(name: str, version: str | None, as_json: bool) -> None:
    """Show a dataset version or a feature space.

    Name a feature space by its digest, or the first digits of it.
    """
    from jdq.store.datasets import UnknownDataset
    from jdq.store.errors import UnknownSpace
    from jdq.store.maintenance.listing import summarize_dataset, summarize_space

    opened = Client().existing_store
    try:
        space = None if name in opened.datasets.names() or version else opened.open_space(name)
    except UnknownSpace:
        raise UnknownDataset(name, opened.datasets.names()) from None
    if space is None:
        record = asdict(summarize_dataset(opened, opened.datasets.get(name, version)))
    else:
        import msgspec

        record = asdict(summarize_space(opened, space)) | {"definition": msgspec.to_builtins(space.definition)}
    if as_json:
        print_json(record)
    else:
        _print_record(record)


@store.command()
@click.option("--quick", is_flag=True, help="Check the format and keys of each shard, not every byte.")
@click.option("--repair", is_flag=True, help="Quarantine damaged shards; the next extraction recomputes them.")
@json_option
@click.pass_context
def verify(context: click.Context, quick: bool, repair: bool, as_json: bool) -> None:
    """Check the whole store for damage.

    Jobs may run at the same time. Exit code 1 if damage is found, repaired or not. Dataset rows without features are
    reported as "incomplete", which is not damage: their extraction may still be running.
    """
    from jdq.store.maintenance.verify import verify as verify_store

    with click.progressbar(length=1, label="shards", file=sys.stderr) as bar:

        def after_shard(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        report = verify_store(Client().existing_store, quick=quick, repair=repair, after_shard=after_shard)
    if as_json:
        print_json(asdict(report) | {"sound": report.sound})
    else:
        _print_verify(report)
    context.exit(ExitCode.SUCCEEDED if report.sound else ExitCode.FAILED)


@store.command()
@click.option("--dry-run", is_flag=True, help="Print what would be removed, but remove nothing.")
@click.option("--unused", is_flag=True, help="Also remove shards whose texts are in no dataset.")
@click.option("--quarantined", is_flag=True, help="Also remove quarantined shards.")
@click.option(
    "--older-than",
    "grace_s",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="Minimum age of files to remove: readers and copies may still need newer ones.",
)
@json_option
def gc(dry_run: bool, unused: bool, quarantined: bool, grace_s: float, as_json: bool) -> None:
    """Remove leftovers and replaced shards.

    Leftovers are the partial files of writers that died. Compaction replaces small shards with large ones.
    """
    from jdq.store.maintenance.garbage import collect_garbage

    report = collect_garbage(
        Client().existing_store, dry_run=dry_run, unused=unused, quarantined=quarantined, grace_s=grace_s
    )
    if as_json:
        print_json(asdict(report))
        return
    for kind in ("leftovers", "replaced", "unused", "quarantined"):
        for path in getattr(report, kind):
            say(f"{kind}: {path}")
    for fact in report.unreadable:
        say(fact, err=True)
    verb = "would remove" if dry_run else "removed"
    say(f"{verb} {size(report.size_bytes)}; {report.waiting} kept: too recent, or still needed", err=True)


@store.command()
@click.argument("space", type=SPACE, required=False)
@json_option
def compact(space: str | None, as_json: bool) -> None:
    """Merge small shards into large ones.

    Only shards of SPACE; by default, of all feature spaces. Rows are put in the order of the datasets. `jdq store
    gc` removes the small shards once the large ones are an hour old.
    """
    from jdq.store.spaces.compact import compact as compact_space

    opened = Client().existing_store
    spaces = [opened.open_space(space)] if space else opened.spaces()
    versions = opened.datasets.list()
    reports = [
        compact_space(each, order=(version.keys() for version in versions if _uses(version, each.digest)))
        for each in spaces
    ]
    if as_json:
        print_json([asdict(report) for report in reports])
        return
    for report in reports:
        merged, rows = counted(len(report.merged), "shard"), counted(report.rows, "row")
        say(f"{report.space}: {merged} merged into {len(report.published)}, {rows}")
        for name in report.damaged:
            say(f"shard {name} is damaged and was skipped\n  try: jdq store verify --repair", err=True)


@store.command()
@click.argument("dataset", type=DATASET)
@click.option(
    "--to",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write; its suffix is the format: .h5, .npz or .parquet.",
)
@version_option
@space_option
@click.option("--label-column", metavar="C", help="Column with the labels.  [default: the dataset's own]")
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
def export(
    dataset: str, path: Path, version: str | None, space: str | None, label_column: str | None, force: bool
) -> None:
    """Export a dataset with its features to one file.

    The file holds features, labels and texts in row order, and is readable without jdq.

    \b
    jdq store export posts --to posts.h5        /features /labels /texts, for h5py, h5ls, MATLAB
    jdq store export posts --to posts.npz       numpy
    jdq store export posts --to posts.parquet   pandas, DuckDB, Spark
    """
    from jdq.store.exports.export import export as export_table

    table = Client().existing_store.open(dataset, version=version, space=space)
    with click.progressbar(length=len(table), label="rows", file=sys.stderr) as bar:
        export_table(
            table, path, label_column=label_column, overwrite=force, after_block=lambda rows: bar.update(rows - bar.pos)
        )
    say(str(path))


@store.command()
@click.argument("dataset", type=DATASET)
@click.option("--version", type=VERSION, metavar="V", help="Version, or its first digits.  [default: all versions]")
@json_option
def rm(dataset: str, version: str | None, as_json: bool) -> None:
    """Remove a dataset, or one version of it.

    Its features are kept until `jdq store gc --unused`.
    """
    removed = Client().existing_store.datasets.remove(dataset, version)
    if as_json:
        print_json({"dataset": dataset, "versions": removed})
    else:
        say(f"removed {dataset} {', '.join(removed)}")


def _print_verify(report: VerifyReport) -> None:
    for finding in report.findings:
        say(f"{finding.kind}: {finding.path}: {finding.fact}")
        say(f"  {finding.repaired or 'not repaired'}")
    for finding in report.incomplete:
        say(f"{finding.kind}: {finding.path}: {finding.fact}")
    found = "sound" if report.sound else counted(len(report.findings), "finding")
    features = f"{counted(report.spaces, 'feature space')}, {counted(report.shards, 'shard')}"
    read = f"{counted(report.rows, 'row')}, {size(report.size_bytes)}, {counted(report.datasets, 'dataset version')}"
    say(f"{found}: {features}, {read}")


def dataset_row(dataset: DatasetSummary) -> list[str]:
    """A row under DATASET_COLUMNS."""
    states = {None: "space gone", 0: "complete"}
    features = [
        f"{extraction.space[:12]} {states.get(extraction.missing, f'{extraction.missing} missing')}"
        for extraction in dataset.extracted
    ]
    return [
        dataset.dataset,
        dataset.version,
        str(dataset.rows),
        dataset.label_column or "-",
        str(len(dataset.classes)),
        ", ".join(features) or "none",
    ]


def space_row(space: SpaceSummary) -> list[str]:
    """A row under SPACE_COLUMNS."""
    return [
        space.space[:12],
        space.encoder,
        str(space.dim),
        str(space.rows),
        str(space.shards),
        size(space.size_bytes),
    ]


def _print_record(record: dict[str, object]) -> None:
    """One field per line, as `name: value`."""
    for name, value in record.items():
        if isinstance(value, dict):
            say(f"{name}: {', '.join(f'{key} {each}' for key, each in value.items()) or '-'}")
        elif isinstance(value, list):
            lines = [", ".join(f"{key} {each}" for key, each in item.items()) for item in value]
            say(f"{name}: {'; '.join(lines) or '-'}")
        else:
            say(f"{name}: {'-' if value is None else value}")


def _uses(version: DatasetVersion, space: str) -> bool:
    return any(record.space == space for record in version.spaces())
