"""Exit codes, and which error ends the command with which."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    FAILED = 1  # the job failed or was cancelled; a check found damage
    BAD_INPUT = 2  # the command, its file or its configuration is wrong; nothing was changed
    NO_STACK = 3  # no answer from Redis, or a worker does not start
    UNKNOWN = 4  # no job, head or model has this id
    INTERRUPTED = 130


# By name, so that `jdq --help` need not import the modules that define them.
_EXITS = {
    "jdq.store.trained.UnknownTrained": Exit.UNKNOWN,
    "jdq.store.errors.StoreError": Exit.BAD_INPUT,
    "jdq.worker.heads.errors.HeadError": Exit.BAD_INPUT,
    "jdq.worker.finetune.errors.FineTuneError": Exit.BAD_INPUT,
    "jdq.worker.config.ConfigError": Exit.BAD_INPUT,
    "jdq.worker.queue.contract.ContractError": Exit.BAD_INPUT,
    "jdq.worker.queue.connection.BrokerUnreachable": Exit.NO_STACK,
    "jdq.cli.stack.errors.StackError": Exit.NO_STACK,
    "jdq.cli.client.BadRequest": Exit.BAD_INPUT,
    "jdq.worker.queue.jobbook.UnknownJob": Exit.UNKNOWN,
    "jdq.worker.queue.jobbook.DependencyEnded": Exit.BAD_INPUT,
    "jdq.worker.queue.jobbook.NotRetried": Exit.BAD_INPUT,
    # A server that goes away in the middle of a command.
    "redis.exceptions.RedisError": Exit.NO_STACK,
    "kombu.exceptions.OperationalError": Exit.NO_STACK,
}


def exit_of(error: BaseException) -> Exit | None:
    """The exit code of an error that users may see; None for a fault of jdq's own."""
    for ancestor in type(error).__mro__:
        if found := _EXITS.get(f"{ancestor.__module__}.{ancestor.__qualname__}"):
            return found
    return None


def message_of(error: BaseException) -> str:
    """What to tell the user: the error's own words, and what to do where the words are another package's."""
    if type(error).__module__.startswith("jdq."):
        return str(error)
    return f"the connection to Redis broke: {error}\n  try: jdq workers"
