"""`jdq submit`: check the input, create the job, print its id."""

from __future__ import annotations

import click

from jdq.cli.submit import extract, fine_tune, predict, train_head


@click.group(commands=[extract.extract, train_head.train_head, fine_tune.fine_tune, predict.predict])
def submit() -> None:
    """Submit a job and print its id."""
