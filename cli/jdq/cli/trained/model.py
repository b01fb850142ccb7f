"""`jdq model`: models to try things with."""

from __future__ import annotations

from pathlib import Path

import click

from jdq.cli.trained.programs import require_worker_packages, run_program


@click.group()
def model() -> None:
    """Models to try things with."""


@model.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dim", type=int, default=64, show_default=True, help="Width of the network.")
@click.option("--layers", type=int, default=2, show_default=True, help="Layers of the encoder.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with BART's vocab.json and merges.txt.",
)
def tiny(folder: Path, dim: int, layers: int, seed: int, tokenizer: Path | None) -> None:
    """Make a tiny BART with random weights in FOLDER, for trying things offline.

    \b
    jdq model tiny tiny-bart
    jdq submit extract data.csv --encoder tiny-bart
    """
    require_worker_packages()
    options = ["--dim", str(dim), "--layers", str(layers), "--seed", str(seed)]
    run_program(
        "jdq.worker.encoder.tiny", [str(folder), *options, *(["--tokenizer", str(tokenizer)] if tokenizer else [])]
    )
