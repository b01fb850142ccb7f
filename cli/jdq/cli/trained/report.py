"""`jdq report`: one page about a head, a fine-tune, or the best of a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from jdq.cli.trained.programs import require_worker_packages, run_program


@click.command()
@click.argument("wanted", metavar="JOB|DATASET")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The file.",
)
def report(wanted: str, output: Path) -> None:
    """Write one self-contained page about the head or the model that JOB made, or about the best of DATASET.

    Runs on this machine, without Redis or workers, from what is in the store.

    \b
    jdq report train-head-7kq2m9xw -o report.html
    """
    require_worker_packages()
    run_program("jdq.worker.programs.write_report", [wanted, "--output", str(output.absolute())])
