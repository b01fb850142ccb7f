"""`jdq models`: the fine-tuned models in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jdq.cli.client import Client
from jdq.cli.ids import DATASET, MODEL
from jdq.cli.output import json_option, print_json, say
from jdq.cli.trained.listing import export_to, print_list, remove_all

if TYPE_CHECKING:
    from jdq.store.trained import Models


@click.group()
def models() -> None:
    """List, show, remove and export fine-tuned models."""


def _models() -> Models:
    from jdq.store.trained import Models

    return Models(Client().store.root)


@models.command("ls")
@click.option("--dataset", type=DATASET, metavar="D", help="Only models of this dataset.")
@json_option
def list_(dataset: str | None, as_json: bool) -> None:
    """List fine-tuned models, newest first."""
    print_list(_models(), dataset, as_json=as_json)


@models.command()
@click.argument("model", type=MODEL)
@json_option
def show(model: str, as_json: bool) -> None:
    """Show the metrics and origin of MODEL."""
    from jdq.cli.jobs.results import print_model

    trained = _models()
    record = trained.record(model)
    if as_json:
        print_json({"model_id": model, "path": str(trained.path(model)), **record})
        return
    print_model({"model_id": model, **record})
    label_column, split = record["origin"]["label_column"], record["split_digest"]
    say(f"label column {label_column}, split {split}, seed {record['options']['seed']}, {record['created_at']}")
    say(f"folder {trained.path(model)}")


@models.command()
@click.argument("ids", type=MODEL, metavar="MODEL...", nargs=-1, required=True)
def rm(ids: tuple[str, ...]) -> None:
    """Remove models from the store; features are kept."""
    remove_all(_models(), ids)


@models.command()
@click.argument("model", type=MODEL)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write.  [default: MODEL]")
def export(model: str, output: Path | None) -> None:
    """Export MODEL to a plain Hugging Face folder.

    AutoModelForSequenceClassification.from_pretrained loads it.
    """
    export_to(_models(), model, output)
