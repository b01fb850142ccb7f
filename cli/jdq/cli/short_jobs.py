"""Short jobs, for which a command waits: on this machine if the workers' packages are installed, else on workers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jdq.cli.client import BadRequest, Client
from jdq.cli.output import say
from jdq.cli.programs import ProgramFailed, missing_packages, require_worker_packages
from jdq.worker.queue.contract import OUTPUT, TEXTS
from jdq.worker.queue.exit_codes import ExitCode

if TYPE_CHECKING:
    from jdq.store.job_files import JobFiles
    from jdq.worker.queue.contract import ShortJob
    from jdq.worker.queue.records import Job

PROGRAM = "jdq.worker.programs.short_jobs"
FIRST_PAUSE_S, LAST_PAUSE_S = 0.01, 0.3


class Compute(Protocol):
    """Computes the output of a short job, for these texts if it classifies. Ends the command if the job fails."""

    def __call__(self, spec: ShortJob, texts: Sequence[str] = ()) -> bytes: ...


def check_trained(client: Client, head: str | None, model: str | None) -> None:
    """Raises UnknownTrained if the store does not have it, and BadRequest unless exactly one is given."""
    from jdq.store.trained import Heads, Models

    if (head is None) == (model is None):
        raise BadRequest("give either --head or --model\n  try: jdq heads ls")
    root = client.store.root
    Heads(root).path(head) if head is not None else Models(root).path(model or "")


def short_jobs(client: Client) -> AbstractContextManager[Compute]:
    """Computes short jobs, with a head or model that stays loaded.

    Raises BadRequest if there are neither the packages here nor workers elsewhere.
    """
    # A head's encoder may be a folder that only the workers see.
    if not missing_packages() and not client.config.worker_folders:
        return _in_a_process()
    if client.config.embedded:
        require_worker_packages()
    return _on_workers(client)


@contextmanager
def _in_a_process() -> Iterator[Compute]:
    from jdq.store.job_files import JobFiles

    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        files = JobFiles(Path(folder))
        command = [sys.executable, "-m", PROGRAM, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            yield lambda spec, texts=(): _by_program(program, files, spec, texts)


def _by_program(program: subprocess.Popen[bytes], files: JobFiles, spec: ShortJob, texts: Sequence[str]) -> bytes:
    import msgspec

    job = _put(files, spec, texts)
    assert program.stdin and program.stdout
    with suppress(BrokenPipeError):  # the program has ended, and said why
        program.stdin.write(msgspec.json.encode({"job": job, "spec": spec}) + b"\n")
        program.stdin.flush()
    if not program.stdout.readline():
        raise ProgramFailed(PROGRAM, program.wait())
    return _taken(files, job)


@contextmanager
def _on_workers(client: Client) -> Iterator[Compute]:
    yield lambda spec, texts=(): _by_workers(client, spec, texts)


def _by_workers(client: Client, spec: ShortJob, texts: Sequence[str]) -> bytes:
    from jdq.store.job_files import JobFiles
    from jdq.worker.queue.contract import JobState
    from jdq.worker.queue.jobbook import UnknownJob

    client.jobbook  # noqa: B018 - fails before anything is written where Redis does not answer
    files = JobFiles(client.store.root)
    job = _put(files, spec, texts)
    try:
        client.submit(spec, priority="high", notify=(), job=job)
        ended = _ended(client, job)
        if ended.state != JobState.SUCCEEDED:
            say(f"jdq: {ended.error.message if ended.error else f'job {job} was cancelled'}", err=True)
            sys.exit(ExitCode.FAILED)
        return _taken(files, job)
    except KeyboardInterrupt:
        with suppress(UnknownJob):
            client.jobbook.cancel(job)
        raise
    finally:
        shutil.rmtree(files.folder(job), ignore_errors=True)


def _put(files: JobFiles, spec: ShortJob, texts: Sequence[str]) -> str:
    """The id of the job, once its texts are among its files."""
    from jdq.worker.queue.jobbook import new_job_id

    job = new_job_id(spec.kind)
    if texts:
        files.put_json(job, TEXTS, {TEXTS: list(texts)})
    return job


def _taken(files: JobFiles, job: str) -> bytes:
    """The output; the job's files are removed."""
    output = files.get_array(job, OUTPUT).tobytes()
    shutil.rmtree(files.folder(job), ignore_errors=True)
    return output


def _ended(client: Client, job: str) -> Job:
    """The job once it has ended; polled often at first, because a text takes milliseconds."""
    pause_s = FIRST_PAUSE_S
    while not (known := client.job(job)).state.ended:
        time.sleep(pause_s)
        pause_s = min(LAST_PAUSE_S, 1.1 * pause_s)
    return known
