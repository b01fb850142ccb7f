"""The workers' log lines: each names the worker, the job and the chunk.

They go to stderr, as text or as JSON; a job's lines also go to a stream in Redis, so that `jdq logs` shows the lines of
all workers, wherever they run.
"""

import json
import logging
import logging.handlers
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import redis
from kombu.exceptions import OperationalError

from jdq.worker.queue.archive import lines_key
from jdq.worker.queue.ledger import Lease
from jdq.worker.queue.limits import LINE_LENGTH, LINES_KEPT

# Set in the environment of a worker's child, because Celery does not pass on the worker's name before the first task.
WORKER_NAME = "JDQ_WORKER_NAME"
STREAM_BACKLOG = 10_000  # lines that wait while Redis is unreachable; more are dropped

_lease: ContextVar[Lease | None] = ContextVar("lease", default=None)


@contextmanager
def working_on(lease: Lease) -> Iterator[None]:
    """Names the lease's job and chunk in every log line of this thread."""
    token = _lease.set(lease)
    try:
        yield
    finally:
        _lease.reset(token)


class _Where(logging.Filter):
    """Adds `job`, `chunk` and `worker` to each record."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        lease = _lease.get()
        record.worker = self._worker
        record.job = lease.job if lease else None
        record.chunk = lease.chunk if lease else None
        return True


class _Text(logging.Formatter):
    """One line for people: time, level, worker, job, chunk, message."""

    def format(self, record: logging.LogRecord) -> str:
        job, chunk = getattr(record, "job", None), getattr(record, "chunk", None)
        where = f"{job}/{chunk}" if job else "-"
        head = f"{_moment(record)} {record.levelname} {getattr(record, 'worker', '-')} {where}: {_message(record)}"
        return f"{head}\n{self.formatException(record.exc_info)}" if record.exc_info and not _away(record) else head


class _Json(logging.Formatter):
    """One JSON object per line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _moment(record),
            "level": record.levelname,
            "worker": getattr(record, "worker", None),
            "job": getattr(record, "job", None),
            "chunk": getattr(record, "chunk", None),
            "logger": record.name,
            "message": _message(record),
            **getattr(record, "measured", {}),
        }
        if record.exc_info and not _away(record):
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class _Stream(logging.Handler):
    """Appends a job's lines to the job's stream."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self._client = client

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._client.xadd(
                lines_key(record.job),  # type: ignore[attr-defined]
                {"line": self.format(record)[:LINE_LENGTH]},
                maxlen=LINES_KEPT,
                approximate=True,
            )
        except redis.RedisError:
            return  # the line is in the worker's own log


def _away(record: logging.LogRecord) -> BaseException | None:
    """The error of a server that does not answer, whose stack would only repeat in each line of a long outage."""
    error = record.exc_info[1] if record.exc_info else None
    return error if isinstance(error, redis.ConnectionError | redis.TimeoutError | OperationalError) else None


def _message(record: logging.LogRecord) -> str:
    away = _away(record)
    return f"{record.getMessage()}: {' '.join(str(away).split())}" if away else record.getMessage()


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def configure_logging(worker: str, form: str, *, level: int = logging.INFO) -> None:
    """One format for jdq's and Celery's lines, on stderr."""
    handler = logging.StreamHandler()
    handler.addFilter(_Where(worker))
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    # Celery's own lines about tickets add nothing to the lines about chunks.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


def silence_other_lines() -> None:
    """Silences what a worker prints besides its log: Celery on shutdown, and billiard in a new process.

    Call it after Celery has set up logging, and before it starts processes.
    """
    # Not at the top: a client that computes in its own process needs this module, but no Celery worker.
    import celery.apps.worker

    celery.apps.worker.safe_say = lambda *_: None
    os.environ.pop("_MP_FORK_LOGLEVEL_", None)


def stream_job_lines(worker: str, client: redis.Redis) -> None:
    """Sends jdq's own lines about a job to the job's stream, from a thread, so that logging never waits for Redis."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(STREAM_BACKLOG)
    to_queue = logging.handlers.QueueHandler(lines)
    to_queue.addFilter(_Where(worker))
    to_queue.addFilter(lambda record: bool(record.job))  # type: ignore[attr-defined]
    to_queue.setFormatter(_Text())
    stream = _Stream(client)
    stream.setFormatter(logging.Formatter("%(message)s"))  # the queue handler has formatted the message
    logging.getLogger("jdq").addHandler(to_queue)
    logging.handlers.QueueListener(lines, stream).start()
