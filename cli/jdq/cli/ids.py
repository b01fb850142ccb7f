"""Ids on the command line: shortened to what is unique, `@last`, and completed with TAB."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from jdq.cli.client import BadRequest, Client
from jdq.worker.heads.options import HEADS
from jdq.worker.queue.contract import KINDS

LAST = "@last"
SHOWN = 5
COMPLETE = re.compile(rf"({'|'.join(KINDS)})-[2-9a-z]{{8}}")


class Name(click.ParamType[str]):
    """A name that TAB completes. known: all such names. files: whether to complete files, too."""

    name = "text"

    def __init__(self, known: Callable[[Client], Iterable[str]], *, files: bool = False) -> None:
        self.known = known
        self._files = files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin like this; none if they cannot be read."""
        from redis import RedisError

        from jdq.store.errors import StoreError
        from jdq.worker.config import ConfigError
        from jdq.worker.queue.connection import BrokerUnreachable

        try:
            names = list(self.known(Client()))
        except (BrokerUnreachable, ConfigError, RedisError, StoreError):
            names = []
        items = [CompletionItem(each) for each in names if each.startswith(incomplete)]
        return [*items, CompletionItem(incomplete, type="file")] if self._files else items


class Id(Name):
    """An id, or enough of it: its beginning, or that of its last part (`k3v9` for `extract-k3v9x2pq`), or `@last`.

    known: all ids, newest first. A value that matches none is left as it is, for the command to report.
    """

    def __init__(self, kind: str, known: Callable[[Client], Iterable[str]]) -> None:
        super().__init__(known)
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The complete id. Raises BadRequest if several match."""
        # A history may be long: no id begins with a complete one.
        if COMPLETE.fullmatch(value):
            return str(value)
        return whole_id(value, list(dict.fromkeys(self.known(Client()))), self._kind)


def whole_id(value: str, known: Sequence[str], kind: str) -> str:
    """The id among those known, newest first, that the value stands for; the value itself if there is none."""
    if value == LAST:
        if not known:
            raise BadRequest(f"{LAST}: there is no {kind} yet")
        return known[0]
    if value in known or not value:
        return value
    matches = [each for each in known if each.startswith(value) or each.rpartition("-")[2].startswith(value)]
    if len(matches) > 1:
        more = f" and {len(matches) - SHOWN} more" if len(matches) > SHOWN else ""
        raise BadRequest(f"{value!r} is the beginning of {len(matches)} {kind}s: {', '.join(matches[:SHOWN])}{more}")
    return matches[0] if matches else value


def _jobs(client: Client) -> list[str]:
    return client.jobbook.ids()


def _heads(client: Client) -> list[str]:
    from jdq.store.trained import Heads

    return Heads(client.store.root).ids()


def _models(client: Client) -> list[str]:
    from jdq.store.trained import Models

    return Models(client.store.root).ids()


def with_page(client: Client) -> list[str]:
    """Jobs whose table `jdq report` has a page about, newest first."""
    from jdq.worker.queue.contract import WITH_PAGE

    runs = client.store.root / "runs"
    paths = [path for kind in WITH_PAGE for path in runs.glob(f"[!.]*/{kind.table}")]
    return [path.parent.name for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)]


def _datasets(client: Client) -> list[str]:
    return client.store.datasets.names()


def _versions(client: Client) -> list[str]:
    return [version.version for version in client.existing_store.datasets.list()]


def _spaces(client: Client) -> list[str]:
    return [space.digest for space in client.existing_store.spaces()]


JOB = Id("job", _jobs)
HEAD = Id("head", _heads)
MODEL = Id("model", _models)
# A head or model in the store, or one that a job is making: `submit predict` waits for it.
HEAD_TO_COME = Id("head", lambda client: [*_heads(client), *_of_kind(client, "train-head")])
MODEL_TO_COME = Id("model", lambda client: [*_models(client), *_of_kind(client, "fine-tune")])
DATASET = Name(_datasets)
VERSION = Name(_versions)
SPACE = Name(_spaces)
WORKER = Name(lambda client: [worker.name for worker in client.jobbook.workers()])
DATASET_OR_SPACE = Name(lambda client: [*_datasets(client), *_spaces(client)])
FILE_OR_DATASET = Name(_datasets, files=True)
HEAD_KIND = Name(lambda _: HEADS)
REPORTED = Id(
    "head, model, table or dataset",
    lambda client: [*_heads(client), *_models(client), *with_page(client), *_datasets(client)],
)


def _of_kind(client: Client, kind: str) -> list[str]:
    return [job for job in _jobs(client) if job.rpartition("-")[0] == kind]
