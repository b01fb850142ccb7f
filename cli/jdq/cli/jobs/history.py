"""`jdq jobs rm`, `prune`, `jdq recover`: remove ended jobs from the history, or rebuild it from the store."""

import datetime
import re
import time

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import JOB
from jdq.cli.output import counted, say

UNITS = {"m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str, option: str) -> float:
    """A length of time such as 2h, in seconds. option: named in the error. Raises BadRequest."""
    length = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text)
    if length is None or not float(length[1]):
        raise BadRequest(f"{option} takes a length of time such as 30m, 2h or 1d, not {text!r}")
    return float(length[1]) * UNITS[length[2]]


def time_of(text: str, option: str) -> float:
    """A date, or an age, as seconds since 1970. option: named in the error."""
    try:
        if text[-1:] in UNITS:
            return time.time() - float(text[:-1]) * UNITS[text[-1]]
        return datetime.datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a date nor an age such as 36h", param_hint=option) from None


@click.command()
@click.argument("ids", type=JOB, metavar="JOB...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Remove other owners' jobs, too.")
def rm(ids: tuple[str, ...], force: bool) -> None:
    """Remove ended jobs from the history.

    Their heads, models, features and files in the store are kept. If one of them cannot be removed, none is.
    """
    client = Client()
    for job in ids:
        if not client.own_job(job, force=force, command=f"jobs rm {job}").state.ended:
            raise BadRequest(f"job {job} has not ended\n  try: jdq cancel {job}")
    removed = client.jobbook.forget(ids)
    for job in removed:
        say(f"job {job} removed", err=True)
    if left := [job for job in ids if job not in removed]:
        raise BadRequest(f"a worker has not yet left job {left[0]}\n  try: jdq jobs rm {left[0]}")


@click.command()
@click.option(
    "--older-than",
    required=True,
    metavar="TIME",
    help="Only jobs that ended before TIME: a date (2026-01-31), or a time before now (36h, 7d).",
)
@click.option("--all", "everybody", is_flag=True, help="All owners' jobs, not only yours.")
def prune(older_than: str, everybody: bool) -> None:
    """Remove jobs that ended long ago.

    Their heads, models, features and files in the store are kept.
    """
    client = Client()
    ended = client.jobbook.ended_before(time_of(older_than, "--older-than"))
    removed = client.jobbook.forget([job for job, owner in ended if everybody or owner == client.config.user])
    say(f"{counted(len(removed), 'job')} removed", err=True)


@click.command()
def recover() -> None:
    """Rebuild the history from the store.

    For a Redis that has lost its data. Every job that had ended is listed again, with its result. Jobs that had not
    ended are lost: submit them again; features that are in the store are not computed again.
    """
    say(f"{counted(Client().jobbook.recover(), 'job')} recovered", err=True)
