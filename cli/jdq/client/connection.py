"""What the Python API shares with the command line's client: settings, job book, and notes to the user."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jdq.cli.client import Client as CommandClient
from jdq.client.suggestions import in_python

if TYPE_CHECKING:
    from jdq.client.in_process import InProcessJobs
    from jdq.worker.queue.scripts import TicketOrder


class Connection(CommandClient):
    """The configured stack, or the given broker and store. quiet: print no notes."""

    def __init__(self, broker_url: str | None, store: str | Path | None, *, quiet: bool) -> None:
        given = {"JDQ_BROKER_URL": broker_url, "JDQ_STORE": None if store is None else str(store)}
        super().__init__({**os.environ, **{name: value for name, value in given.items() if value is not None}})
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Prints it on stderr."""
        if not self.quiet:
            super().note(in_python(text))


class InProcess(Connection):
    """Jobs of this process, one after another in a thread: no Redis, no workers."""

    def __init__(self, store: str | Path | None, *, quiet: bool) -> None:
        super().__init__(None, store, quiet=quiet)

    @cached_property
    def jobbook(self) -> InProcessJobs:
        """The jobs of this client."""
        from jdq.client.in_process import InProcessJobs

        return InProcessJobs(self.config)

    def _send(self, tickets: list[TicketOrder]) -> None:
        """Nothing to send: `InProcessJobs.create` starts the job."""
