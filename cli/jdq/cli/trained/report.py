"""`jdq report`: a page about one head or fine-tune."""

from __future__ import annotations

from pathlib import Path

import click

from jdq.cli.ids import REPORTED
from jdq.cli.programs import check_folder_of, require_worker_packages, run_program


@click.command()
@click.argument("wanted", type=REPORTED, metavar="JOB|DATASET")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="File to write.",
)
def report(wanted: str, output: Path) -> None:
    """Write a report on a head, a fine-tune or a table.

    One self-contained HTML page about the head or model of JOB, or about the best one of DATASET; also about what
    find-label-errors found. Needs no Redis and no workers.

    \b
    jdq report train-head-7kq2m9xw -o report.html
    """
    check_folder_of(output)
    require_worker_packages()
    run_program("jdq.worker.programs.write_report", [wanted, "--output", str(output.absolute())])
