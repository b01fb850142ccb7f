"""What the buttons of the pages do: the same as the commands, in the name of who pressed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from jdq.cli.client import BadRequest, Client

# On a client, with the fields of the form and of the address; returns the page to show next.
Action: TypeAlias = Callable[["Acting", Mapping[str, str]], str]


class Acting(Client):
    """The client of one person for one request; notes are kept for the next page."""

    def __init__(self, environment: Mapping[str, str], owner: str) -> None:
        super().__init__({**environment, "JDQ_USER": owner})
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keeps it."""
        self.notes.append(text)


def cancel(client: Acting, fields: Mapping[str, str]) -> str:
    """Cancels the job; another owner's only with the field `force`."""
    job = fields["job"]
    if not client.cancel(job, force="force" in fields):
        raise BadRequest(f"job {job} has ended already")
    return f"/jobs/{job}"


def retry(client: Acting, fields: Mapping[str, str]) -> str:
    """Retries the job."""
    job = client.job(fields["job"]).id
    client.retry(job)
    return f"/jobs/{job}"
