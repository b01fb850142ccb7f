"""`jdq config`: the settings of this installation, and where each comes from."""

import os
import re
from typing import Any

import click

from jdq.cli.client import Client
from jdq.cli.output import json_option, print_json, print_table, say
from jdq.worker.config import settings
from jdq.worker.encoder.options import AUTO


@click.group()
def config() -> None:
    """Show the settings of jdq."""


@config.command()
@json_option
def show(as_json: bool) -> None:
    """Print each setting and where it comes from.

    A value comes from an environment variable, from config.toml in $JDQ_HOME, or is the default. Passwords in URLs are
    masked. What precision `auto` means is settled when the installation first starts.

    Example: jdq config show
    """
    shown = [setting._replace(value=_masked(setting.name, setting.value)) for setting in settings(os.environ)]
    automatic = Client().automatic_precision()
    if as_json:
        print_json({"settings": [setting._asdict() for setting in shown], "automatic_precision": automatic})
        return
    print_table(["setting", "value", "from"], [[name, _text(value), source] for name, value, source in shown])
    if automatic:
        say(f"precision {AUTO}: {automatic}")


def _masked(name: str, value: Any) -> Any:
    from jdq.worker.queue.connection import without_password

    if name == "notify":
        return re.sub(r"://\S+", "://***", value)
    return without_password(value) if name == "broker_url" else value


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
