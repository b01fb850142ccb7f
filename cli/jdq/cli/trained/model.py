"""`jdq model`: a tiny encoder for trials."""

from pathlib import Path

import click

from jdq.cli.programs import require_worker_packages, run_program


@click.group()
def model() -> None:
    """Create a tiny encoder for trials."""


@model.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dim", type=int, default=64, show_default=True, help="Width of the network, a multiple of 16.")
@click.option("--layers", type=int, default=2, show_default=True, help="Number of encoder layers.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed for the weights.")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with BART's vocab.json and merges.txt.",
)
def tiny(folder: Path, dim: int, layers: int, seed: int, tokenizer: Path | None) -> None:
    """Create a tiny BART with random weights in FOLDER.

    For trying jdq offline; its results mean nothing.

    \b
    jdq model tiny tiny-bart
    jdq submit extract data.csv --encoder tiny-bart
    """
    require_worker_packages()
    options = ["--dim", str(dim), "--layers", str(layers), "--seed", str(seed)]
    run_program(
        "jdq.worker.encoder.tiny", [str(folder), *options, *(["--tokenizer", str(tokenizer)] if tokenizer else [])]
    )
