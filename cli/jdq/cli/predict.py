"""`jdq predict`: classify one text on this machine, at once."""

from __future__ import annotations

import sys

import click

from jdq.cli.client import Client
from jdq.cli.exits import Exit
from jdq.cli.output import json_option
from jdq.cli.programs import require_worker_packages, run_program


@click.command()
@click.argument("text")
@click.option("--head", required=True, help="The head's id: the id of the job that trained it.")
@json_option
def predict(text: str, head: str, as_json: bool) -> None:
    """Print the class of TEXT and the probability of each class, most likely first.

    Runs on this machine, without Redis or workers.
    """
    require_worker_packages()
    store = Client().store
    path = store.root / "heads" / f"{head}.safetensors"
    if not path.is_file():
        click.echo(f"jdq: no head has the id {head!r}\n  try: jdq submit train-head", err=True)
        sys.exit(Exit.UNKNOWN)
    run_program("jdq.worker.predict", [str(path), *(["--json"] if as_json else []), "--", text])
