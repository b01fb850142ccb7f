"""`jdq submit`: check the input, make the job, print its id."""

from __future__ import annotations

import click

from jdq.cli.submit import extract, fine_tune, predict, train_head


@click.group()
def submit() -> None:
    """Submit a job; its id is printed on stdout."""


for _command in (extract.extract, train_head.train_head, fine_tune.fine_tune, predict.predict):
    submit.add_command(_command)
