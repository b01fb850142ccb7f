"""`jdq store`: what lies in the store, whether it is sound, and plain copies of it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jdq.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.store.maintenance.listing import DatasetSummary, SpaceSummary
    from jdq.store.store import Store

version_option = click.option("--version", metavar="V", help="A version, or its first digits; default: the newest.")
space_option = click.option(
    "--space", metavar="S", help="A feature space, or its first digits; default: the last used."
)


@click.group()
def store() -> None:
    """Look at the store, check it, clean it, and copy from it.

    The store is the folder $JDQ_STORE, else $JDQ_HOME/store, else ~/.jdq/store.
    """


def _open() -> Store:
    from jdq.store.store import open_store

    return open_store(create=False)


@store.command("ls")
@json_option
def list_(as_json: bool) -> None:
    """List datasets and feature spaces.

    A dataset's features are "complete", or so many rows are "missing", in each feature space of its extractions.
    """
    from jdq.store.maintenance.listing import list_store

    summary = list_store(_open())
    if as_json:
        print_json(asdict(summary))
        return
    if summary.datasets:
        print_table(["DATASET", "VERSION", "ROWS", "LABEL", "CLASSES", "FEATURES"], list(map(_row, summary.datasets)))
    if summary.spaces:
        click.echo()
        print_table(["SPACE", "ENCODER", "DIM", "ROWS", "SHARDS", "SIZE"], list(map(_space_row, summary.spaces)))
    if not summary.datasets and not summary.spaces:
        click.echo(f"the store {summary.root} is empty", err=True)
    for damage in summary.damaged:
        click.echo(damage, err=True)


@store.command()
@click.argument("name", metavar="DATASET|SPACE")
@version_option
@json_option
def show(name: str, version: str | None, as_json: bool) -> None:
    """Show one dataset version, or one feature space by the first digits of its digest."""
    from jdq.store.datasets import UnknownDataset
    from jdq.store.errors import UnknownSpace
    from jdq.store.maintenance.listing import summarize_dataset, summarize_space

    found = _open()
    try:
        space = None if name in found.datasets.names() or version else found.open_space(name)
    except UnknownSpace:
        raise UnknownDataset(name, found.datasets.names()) from None
    if space is None:
        record = asdict(summarize_dataset(found, found.datasets.get(name, version)))
    else:
        import msgspec

        record = asdict(summarize_space(found, space)) | {"definition": msgspec.to_builtins(space.definition)}
    if as_json:
        print_json(record)
    else:
        _print_record(record)


@store.command()
@click.option("--quick", is_flag=True, help="Check the form and keys of each shard, not every byte.")
@click.option("--repair", is_flag=True, help="Move damaged shards into quarantine; the next extraction computes them.")
@json_option
@click.pass_context
def verify(context: click.Context, quick: bool, repair: bool, as_json: bool) -> None:
    """Check the whole store, also while jobs run. Exit codes: 0 sound, 1 damage found (repaired or not).

    Rows of a dataset that no shard holds are told ("incomplete") and are no damage: a job may not be there yet.
    """
    from jdq.store.maintenance.verify import verify as verify_store

    with click.progressbar(length=1, label="shards", file=sys.stderr) as bar:

        def after_shard(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        report = verify_store(_open(), quick=quick, repair=repair, after_shard=after_shard)
    if as_json:
        print_json(asdict(report) | {"sound": report.sound})
    else:
        for finding in report.findings:
            click.echo(f"{finding.kind}: {finding.path}: {finding.fact}")
            click.echo(f"  {finding.repaired or 'not repaired'}")
        for finding in report.incomplete:
            click.echo(f"{finding.kind}: {finding.path}: {finding.fact}")
        click.echo(
            f"{'sound' if report.sound else f'{len(report.findings)} findings'}: {report.spaces} feature spaces, "
            f"{report.shards} shards, {report.rows} rows, {size(report.size_bytes)}, {report.datasets} dataset versions"
        )
    context.exit(0 if report.sound else 1)


@store.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--unused", is_flag=True, help="Also remove shards none of whose texts is in any dataset.")
@click.option("--quarantined", is_flag=True, help="Also remove shards that failed a check.")
@click.option(
    "--older-than",
    "grace_s",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="Keep what is younger: readers and copies that began before it changed may need it.",
)
@json_option
def gc(dry_run: bool, unused: bool, quarantined: bool, grace_s: float, as_json: bool) -> None:
    """Remove what dead writers left behind and shards that compaction has replaced."""
    from jdq.store.maintenance.garbage import collect_garbage

    report = collect_garbage(_open(), dry_run=dry_run, unused=unused, quarantined=quarantined, grace_s=grace_s)
    if as_json:
        print_json(asdict(report))
        return
    for kind in ("leftovers", "replaced", "unused", "quarantined"):
        for path in getattr(report, kind):
            click.echo(f"{kind}: {path}")
    verb = "would remove" if dry_run else "removed"
    click.echo(f"{verb} {size(report.size_bytes)}; {report.waiting} not old enough or not needed less", err=True)


@store.command()
@click.argument("space", required=False)
@json_option
def compact(space: str | None, as_json: bool) -> None:
    """Merge small shards into large ones, in the order of the datasets: of SPACE, or of all feature spaces.

    The small ones stay until `jdq store gc` finds the new ones an hour old.
    """
    from jdq.store.spaces.compact import compact as compact_space

    found = _open()
    spaces = [found.open_space(space)] if space else found.spaces()
    versions = found.datasets.list()
    reports = [
        compact_space(each, order=(version.keys() for version in versions if _uses(version, each.digest)))
        for each in spaces
    ]
    if as_json:
        print_json([asdict(report) for report in reports])
        return
    for report in reports:
        click.echo(
            f"{report.space}: {len(report.merged)} shards merged into {len(report.published)}, {report.rows} rows"
        )
        for name in report.damaged:
            click.echo(f"shard {name} is damaged and was left\n  try: jdq store verify --repair", err=True)


@store.command()
@click.argument("dataset")
@click.option(
    "--to", "path", required=True, type=click.Path(path_type=Path), metavar="FILE", help="x.h5, .npz, .parquet"
)
@version_option
@space_option
@click.option("--label-column", metavar="C", help="Default: the dataset's own.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def export(
    dataset: str, path: Path, version: str | None, space: str | None, label_column: str | None, force: bool
) -> None:
    """Copy a dataset's features, labels and texts, in row order, into one file that needs no jdq to read.

    \b
    jdq store export posts --to posts.h5        /features /labels /texts, for h5py, h5ls, MATLAB
    jdq store export posts --to posts.npz       numpy
    jdq store export posts --to posts.parquet   pandas, DuckDB, Spark
    """
    from jdq.store.exports.export import export as export_table

    table = _open().open(dataset, version=version, space=space)
    with click.progressbar(length=len(table), label="rows", file=sys.stderr) as bar:
        export_table(
            table, path, label_column=label_column, overwrite=force, after_block=lambda rows: bar.update(rows - bar.pos)
        )
    click.echo(path)


@store.command()
@click.argument("dataset")
@click.option("--version", metavar="V", help="Only this version (or its first digits); default: all of them.")
@json_option
def rm(dataset: str, version: str | None, as_json: bool) -> None:
    """Remove a dataset, or one version of it. Its features stay until `jdq store gc --unused`."""
    removed = _open().datasets.remove(dataset, version)
    if as_json:
        print_json({"dataset": dataset, "versions": removed})
    else:
        click.echo(f"removed {dataset} {', '.join(removed)}")


def size(count: int) -> str:
    """Bytes for people: 512 B, 1.5 MiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _row(dataset: DatasetSummary) -> list[str]:
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


def _space_row(space: SpaceSummary) -> list[str]:
    return [
        space.space[:12],
        space.encoder,
        str(space.dim),
        str(space.rows),
        str(space.shards),
        size(space.size_bytes),
    ]


def _print_record(record: dict[str, object]) -> None:
    """One field a line, as `name: value`."""
    for name, value in record.items():
        if isinstance(value, dict):
            click.echo(f"{name}: {', '.join(f'{key} {each}' for key, each in value.items()) or '-'}")
        elif isinstance(value, list):
            lines = [", ".join(f"{key} {each}" for key, each in item.items()) for item in value]
            click.echo(f"{name}: {'; '.join(lines) or '-'}")
        else:
            click.echo(f"{name}: {'-' if value is None else value}")


def _uses(version: DatasetVersion, space: str) -> bool:
    return any(record.space == space for record in version.spaces())
