"""Exit codes of the client and of the programs that it runs, and the border where errors become one of them."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Self

import click


class ExitCode(IntEnum):
    """The meaning of the exit code of a command or a program."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    SUCCEEDED = 0, "succeeded"
    FAILED = 1, "the job failed or a check found damage"
    BAD_INPUT = 2, "wrong input or configuration"
    NO_STACK = 3, "no Redis or workers"
    UNKNOWN = 4, "unknown job, head, model or dataset"
    INTERRUPTED = 130, "interrupted"


# By name, so that `jdq --help` need not import the modules that define them.
_CODES = {
    "jdq.store.errors.StoreError": ExitCode.BAD_INPUT,
    "jdq.store.errors.UnknownSpace": ExitCode.UNKNOWN,
    "jdq.store.datasets.names.UnknownDataset": ExitCode.UNKNOWN,
    "jdq.store.trained.UnknownTrained": ExitCode.UNKNOWN,
    "jdq.worker.config.ConfigError": ExitCode.BAD_INPUT,
    "jdq.worker.encoder.errors.EncoderError": ExitCode.BAD_INPUT,
    "jdq.worker.heads.errors.HeadError": ExitCode.BAD_INPUT,
    "jdq.worker.finetune.errors.FineTuneError": ExitCode.BAD_INPUT,
    "jdq.worker.queue.contract.ContractError": ExitCode.BAD_INPUT,
    "jdq.worker.queue.jobbook.DependencyEnded": ExitCode.BAD_INPUT,
    "jdq.worker.queue.jobbook.NotRetried": ExitCode.BAD_INPUT,
    "jdq.worker.queue.jobbook.UnknownJob": ExitCode.UNKNOWN,
    "jdq.worker.queue.connection.BrokerUnreachable": ExitCode.NO_STACK,
    # A server that disappears in the middle of a command.
    "redis.exceptions.RedisError": ExitCode.NO_STACK,
    "kombu.exceptions.OperationalError": ExitCode.NO_STACK,
}


@contextmanager
def exit_on_error(more: Mapping[type[Exception], ExitCode] | None = None) -> Iterator[None]:
    """Ends the process with a message on stderr and an exit code if an error is one for users.

    `more` adds errors of the caller. A fault of jdq itself passes through.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        code = code_of(error, more or {})
        if code is None:
            raise
        click.echo(f"jdq: {plain_lines(message_of(error))}", err=True)
        sys.exit(code)


def plain(line: str) -> str:
    """The line with control characters as escapes: a label or a file name must not control the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def plain_lines(text: str) -> str:
    """The text with each line made plain."""
    return "\n".join(map(plain, text.split("\n")))


def code_of(error: Exception, more: Mapping[type[Exception], ExitCode]) -> ExitCode | None:
    """The code of the nearest class that has one; None for a fault of jdq itself."""
    codes = (more.get(kind) or _CODES.get(f"{kind.__module__}.{kind.__qualname__}") for kind in type(error).__mro__)
    return next((code for code in codes if code is not None), None)


def message_of(error: Exception) -> str:
    """The error's message, and what to do if it comes from another package."""
    if type(error).__module__.partition(".")[0] in ("redis", "kombu"):
        return f"the connection to Redis broke: {error}\n  try: jdq workers"
    return str(error)
