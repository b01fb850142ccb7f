"""`jdq submit`: check the input, create the job, print its id."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import click


def _commands() -> Iterator[click.Command]:
    """The commands of the modules here; a command has its module's name, so a new one need not be listed."""
    for module in pkgutil.iter_modules(__path__):
        command = getattr(import_module(f"{__name__}.{module.name}"), module.name, None)
        if isinstance(command, click.Command):
            yield command


@click.group(commands=list(_commands()))
def submit() -> None:
    """Submit a job and print its id."""
