"""What the queue costs: ``python benchmarks/queue.py``, which runs this file.

Prints a small table; needs no running stack. The alternatives are measured in the same run: stock Celery messages for
submitting, and linear scaling for workers. The work is a sleep, so that a busy machine's cores do not decide; the
machine's noise still shows, so read the ratios.
"""

import multiprocessing
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import click
import redis
from celery import Celery
from queue_sharing import history_rows, preemption_rows, share_rows

from jdq.cli.stack.server import find_server, server_command
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue import scripts
from jdq.worker.queue.celery_app import celery_settings
from jdq.worker.queue.contract import TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from jdq.worker.queue.tickets import send_tickets

SPEC = TrainHead(dataset="d", version="v")


class Sleep:
    """A chunk that takes this many seconds of a device."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def prepare(self) -> None:
        """Nothing to read."""

    def compute(self, prepared: None, held: HeldLease) -> None:
        """The device's time."""
        if self._seconds:
            time.sleep(self._seconds)

    def publish(self, computed: None) -> Outcome:
        """Progress as an extraction's chunk reports it."""
        return Outcome(counts={"texts_done": 256, "computed": 256, "tokens": 65536})


def ledger_on(socket: str, worker: str) -> Ledger:
    """A worker's ledger."""
    client = redis.Redis(unix_socket_path=socket, decode_responses=True)
    return Ledger(client, worker=worker, queue="cpu", lease_s=60, reclaim_s=5)


def work(socket: str, job: str, number: int, seconds: float) -> None:
    """One worker's time slice, as long as the job."""
    ledger = ledger_on(socket, f"w{number}")
    ChunkLoop(
        ledger,
        job,
        work_for=lambda lease: Sleep(seconds),
        send=lambda orders: None,
        time_slice_s=3600,
        heartbeat_s=2,
        stall_s=60,
        on_cpu=True,
    ).run()


def planned(socket: str, chunks: int, owner: str = "-") -> str:
    """A job with this many chunks."""
    ledger = ledger_on(socket, "planner")
    job, _ = JobBook(ledger.client).create(SPEC, owner=owner)
    lease = ledger.next(job)
    assert isinstance(lease, Lease)
    ledger.commit(lease, Outcome(follow_up=FollowUpChunks(chunks=chunks, queue="cpu")))
    return job


def wall_of(socket: str, *, workers: int, chunks: int, seconds: float) -> float:
    """Seconds from the first lease to the end of the job."""
    job = planned(socket, chunks)
    processes = [multiprocessing.Process(target=work, args=(socket, job, n, seconds)) for n in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    ended = JobBook(ledger_on(socket, "reader").client).job(job)
    assert ended.state == "succeeded", ended
    assert ended.ended is not None
    assert ended.started is not None
    return ended.ended - ended.started


def submit_celery(socket: str, messages: int) -> float:
    """Seconds to send this many stock Celery messages."""
    app = Celery("stock", broker=f"redis+socket://{socket}")
    app.conf.update(celery_settings())
    began = time.perf_counter()
    for number in range(messages):
        app.send_task("stock", kwargs={"chunk": number}, queue="stock")
    return time.perf_counter() - began


def submit_ledger(socket: str, chunks: int) -> tuple[float, float]:
    """Seconds to submit this many chunks, and the server's bytes per chunk."""
    client = redis.Redis(unix_socket_path=socket)
    before = client.info("memory")["used_memory"]
    began = time.perf_counter()
    planned(socket, chunks)
    wall = time.perf_counter() - began
    return wall, (client.info("memory")["used_memory"] - before) / chunks


def history(socket: str, jobs: int) -> float:
    """Seconds for what `jdq status` reads, with this many jobs in the history."""
    jobbook = JobBook(ledger_on(socket, "reader").client)
    last = ""
    for _ in range(jobs):
        last, _ = jobbook.create(SPEC)
        jobbook.cancel(last)
    began = time.perf_counter()
    jobbook.job(last)
    return time.perf_counter() - began


def release(socket: str, *, dependents: int, workers: int) -> tuple[float, float]:
    """Seconds for which the commit that releases this many jobs blocks the server, and then to send their tickets."""
    for number in range(workers):
        ledger_on(socket, f"seen{number}").heartbeat({"queue": "cpu"})
    ledger = ledger_on(socket, "seen0")
    jobbook = JobBook(ledger.client)
    first, _ = jobbook.create(SPEC)
    for _ in range(dependents):
        jobbook.create(SPEC, after=[first])
    lease = ledger.next(first)
    assert isinstance(lease, Lease)
    began = time.perf_counter()
    tickets = ledger.commit(lease, Outcome()).tickets
    committed = time.perf_counter()
    assert len(tickets) == dependents
    app = Celery("jdq", broker=f"redis+socket://{socket}")
    app.conf.update(celery_settings())
    send_tickets(app, tickets)
    return committed - began, time.perf_counter() - committed


@contextmanager
def replaced(*replacements: tuple[str, str]) -> Iterator[None]:
    """The scripts with other text in these places."""
    source = scripts._source

    @cache
    def other(name: str) -> str:
        text = source(name)
        for old, new in replacements:
            text = text.replace(old, new)
        return text

    scripts._source = other
    try:
        yield
    finally:
        scripts._source = source


UNSHARED = (
    ("local function charge(id, ms)\n", "local function charge(id, ms)\n  do return end\n"),
    ("local function settle(id, chunk, ms)\n", "local function settle(id, chunk, ms)\n  do return 0 end\n"),
    ("  if not more and redis.call('EXISTS', key(id, 'delayed')) == 0 then unlist_pending(id) end\n", ""),
    ("return take_below(priority, had(owner)) or lease(args.job)", "return lease(args.job)"),
)


def per_chunk(socket: str, jobs: list[str], chunks: int) -> float:
    """CPU seconds of worker and server to lease and commit a chunk: on a busy machine they vary less than the wait."""
    ledger = ledger_on(socket, "w")

    def used_s() -> float:
        server = ledger.client.info("cpu")
        return time.process_time() + float(server["used_cpu_user"]) + float(server["used_cpu_sys"])

    began = used_s()
    for number in range(chunks):
        lease = ledger.next(jobs[number % len(jobs)])
        assert lease is not None
        ledger.commit(lease, Outcome(counts={"device_ms": 10_000}))
    return (used_s() - began) / chunks


def fairness(socket: str, *, owners: int, chunks: int, rounds: int) -> float:
    """CPU seconds per chunk that sharing among so many owners adds: the median of pairs of rounds, with and without."""
    jobs = [planned(socket, 10 * rounds * chunks, owner=f"owner{number}") for number in range(owners)]
    differences = []
    for _ in range(rounds):
        shared = per_chunk(socket, jobs, chunks)
        with replaced(*UNSHARED):
            differences.append(shared - per_chunk(socket, jobs, chunks))
    for job in jobs:  # their owners would have the next chunks, too
        JobBook(ledger_on(socket, "reader").client).cancel(job)
    return statistics.median(differences)


KEPT_COUNT = "  live_workers[queue] = names\n"


def rows(socket: str, rounds: int) -> list[tuple[str, str, str]]:
    """What was measured, the figure, the aim."""
    ledger_s, bytes_each = submit_ledger(socket, 100_000)
    celery_s = submit_celery(socket, 2_000) * 50
    empty = statistics.median(wall_of(socket, workers=1, chunks=2_000, seconds=0) for _ in range(rounds))
    empty_two = statistics.median(wall_of(socket, workers=2, chunks=4_000, seconds=0) for _ in range(rounds))
    sleeps = {
        n: statistics.median(wall_of(socket, workers=n, chunks=40 * n, seconds=0.1) for _ in range(rounds))
        for n in (1, 2, 4)
    }
    fairness_s = fairness(socket, owners=10, chunks=1_000, rounds=2 * rounds + 1)
    commit_s, tickets_s = release(socket, dependents=5_000, workers=400)
    fewer_s, _ = release(socket, dependents=500, workers=400)
    assert KEPT_COUNT in scripts._source("commit")
    with replaced((KEPT_COUNT, "")):  # the live workers are counted anew for each job that is released
        counting_s, _ = release(socket, dependents=500, workers=400)
    return [
        ("submit 100,000 chunks", f"{ledger_s:.3f} s", "<= 2 s"),
        ("  against as many Celery messages", f"{celery_s / ledger_s:,.0f}x faster", ""),
        ("  server memory per chunk", f"{bytes_each:.2f} bytes", "< 1,024"),
        ("overhead per chunk, one worker", f"{empty / 2_000 * 1000:.2f} ms", "<= 3 ms"),
        ("  of it, a fair share among 10 owners", f"{fairness_s * 1000:.3f} ms", "<= 0.1 ms"),
        ("empty chunks, two workers", f"{4_000 / empty_two:,.0f} per second", ">= 1,000"),
        ("2 workers against 2 x 1, 0.1 s per chunk", f"{sleeps[1] / sleeps[2]:.3f} of linear", ">= 0.95"),
        ("4 workers against 4 x 1, 0.1 s per chunk", f"{sleeps[1] / sleeps[4]:.3f} of linear", ">= 0.95"),
        ("release 5,000 jobs, 400 workers", f"{commit_s * 1000:.0f} ms", "<= 1,000 ms"),
        ("  500, against counting workers for each", f"{counting_s / fewer_s:.0f}x faster", ""),
        ("  the worker then sends their tickets", f"{tickets_s:.1f} s", ""),
        ("a job's status, 1,000 jobs in history", f"{history(socket, 1_000) * 1000:.1f} ms", "<= 300 ms"),
    ]


@click.command()
@click.option("--rounds", type=int, default=3, show_default=True, help="Number of rounds; each figure is their median.")
def main(rounds: int) -> None:
    """Measures the queue on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        socket = f"{folder}/r.sock"
        command = server_command(find_server(), data=Path(folder), socket=Path(socket))
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                time.sleep(0.05)
            parts = (partial(rows, socket, rounds), partial(history_rows, socket), partial(share_rows, socket))
            for part in (*parts, preemption_rows):
                for what, figure, aim in part():
                    click.echo(f"{what:42} {figure:>18}   {aim}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
