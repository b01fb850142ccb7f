"""`jdq heads`: the heads in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jdq.cli.client import Client
from jdq.cli.ids import DATASET, HEAD
from jdq.cli.output import json_option, print_json, say
from jdq.cli.trained.listing import export_to, print_list, remove_all

if TYPE_CHECKING:
    from jdq.store.trained import Heads


@click.group()
def heads() -> None:
    """List, show, remove and export heads."""


def _heads() -> Heads:
    from jdq.store.trained import Heads

    return Heads(Client().store.root)


@heads.command("ls")
@click.option("--dataset", type=DATASET, metavar="D", help="Only heads of this dataset.")
@json_option
def list_(dataset: str | None, as_json: bool) -> None:
    """List heads, newest first."""
    print_list(_heads(), dataset, as_json=as_json)


@heads.command()
@click.argument("head", type=HEAD)
@json_option
def show(head: str, as_json: bool) -> None:
    """Show the metrics and origin of HEAD."""
    from jdq.cli.jobs.results import print_head

    record = _heads().record(head)
    if as_json:
        print_json({"head_id": head, **record})
        return
    print_head({"head_id": head, **record})
    origin = record["origin"]
    say(f"features of {origin['encoder']}, feature space {origin['space']}")
    say(f"label column {origin['label_column']}, split {record['split_digest']}, seed {record['seed']}")
    say(f"trained on {record['trained_rows']:,} rows in {record['wall_time_s']:.2f} s, {record['created_at']}")


@heads.command()
@click.argument("ids", type=HEAD, metavar="HEAD...", nargs=-1, required=True)
def rm(ids: tuple[str, ...]) -> None:
    """Remove heads from the store; features are kept."""
    remove_all(_heads(), ids)


@heads.command()
@click.argument("head", type=HEAD)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: HEAD.safetensors]")
def export(head: str, output: Path | None) -> None:
    """Export HEAD to one file.

    The file loads without jdq and without pickle: see docs/reference/heads.md.
    """
    export_to(_heads(), head, output)
