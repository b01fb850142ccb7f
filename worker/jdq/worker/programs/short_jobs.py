"""Works on short jobs in this process, without Redis: ``python -m jdq.worker.programs.short_jobs FOLDER``.

Reads a line ``{"job": ID, "spec": {...}}`` for each, and prints a line when its output is in FOLDER/runs,
beside its texts.
"""

import sys
from pathlib import Path

import click
import msgspec

from jdq.store.job_files import JobFiles
from jdq.worker.config import read_config
from jdq.worker.jobs import work_for
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import ShortJob, encode_spec
from jdq.worker.queue.exit_codes import exit_on_error
from jdq.worker.queue.ledger import Lease


class Request(msgspec.Struct, frozen=True):
    """One job."""

    job: str
    spec: ShortJob


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@exit_on_error()
def main(folder: Path) -> None:
    """Work on the jobs of standard input."""
    runtime = Runtime(read_config(), worker="-", queue="gpu")
    runtime.job_files = JobFiles(folder)
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=Request)
        lease = Lease(job=request.job, chunk=0, token="", attempt=1, spec_json=encode_spec(request.spec))
        work = work_for(lease, runtime)
        work.publish(work.compute(work.prepare(), HeldLease(lease)))
        click.echo(request.job)


if __name__ == "__main__":
    main()
