"""What a shared server costs: a long history, fair shares, preemption. Rows of ``python benchmarks/queue.py``.

Shares are simulated on the real scripts, with their clock set. The history is of 100,000 jobs: as many as Redis keeps
(10,000) have really been worked on and archived; of the others, Redis has what it keeps of archived jobs.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis
from prometheus_client import CollectorRegistry, generate_latest

from jdq.store.job_files import JobFiles
from jdq.worker.config import read_config
from jdq.worker.process import archiver
from jdq.worker.process.archiver import Archiver
from jdq.worker.process.runtime import Runtime
from jdq.worker.programs.prometheus_exporter import LedgerCollector
from jdq.worker.queue import scripts
from jdq.worker.queue.contract import TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from jdq.worker.queue.limits import LIMITS
from jdq.worker.queue.scripts import FollowUpChunks

SPEC = TrainHead(dataset="postings", version="0" * 12)
RESULT = {
    "head_id": "x" * 20,
    "metrics": {f"metric-{n}": 0.123456789 for n in range(12)},
    "rows": {"train": 1, "test": 2},
}
JOBS, ARCHIVED_FOR_REAL = 100_000, 100
JDQ = str(Path(sys.executable).parent / "jdq")

Row = tuple[str, str, str]


def client_on(socket: str) -> redis.Redis:
    """A connection to the benchmark's server."""
    return redis.Redis(unix_socket_path=socket, decode_responses=True)


def worker_on(client: redis.Redis, name: str, shares: dict[str, float] | None = None) -> Ledger:
    """A worker's ledger."""
    return Ledger(client, worker=name, queue="cpu", lease_s=60, reclaim_s=5, shares=shares)


def planned(client: redis.Redis, owner: str, chunks: int) -> str:
    """A job of this owner with so many pending chunks."""
    ledger = worker_on(client, "planner")
    job, _ = JobBook(client).create(SPEC, owner=owner)
    lease = ledger.next(job)
    assert lease is not None
    ledger.commit(lease, Outcome(follow_up=FollowUpChunks(chunks=chunks, queue="cpu")))
    return job


def fill(client: redis.Redis, environment: dict[str, str]) -> float:
    """The history; milliseconds to archive one job."""
    book, ledger = JobBook(client), worker_on(client, "w")
    kept = LIMITS.jobs_kept + ARCHIVED_FOR_REAL
    for _ in range(kept):
        job, _ = book.create(SPEC, owner="alice")
        lease = ledger.next(job)
        assert lease is not None
        ledger.commit(lease, Outcome(counts={"tokens": 1000, "computed": 10}, result=RESULT))
    ledger.mark_idle(job)
    archiver.SETTLE_MS = -2_000
    began = time.perf_counter()
    Archiver(Runtime(read_config(environment), worker="w", queue="cpu")).step()
    archived_s = time.perf_counter() - began
    assert client.zcard("jdq:jobs") == LIMITS.jobs_kept
    pipe = client.pipeline()
    for number in range(JOBS - kept):
        pipe.zadd("jdq:archived", {f"train-head-{number:08}": 1_600_000_000_000 + number})
    pipe.execute()
    return 1000 * archived_s / kept


def wall_s(*command: str, environment: dict[str, str]) -> float:
    """The median of five runs of the command."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([JDQ, *command], env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def history_rows(socket: str) -> list[Row]:
    """A history of 100,000 jobs."""
    client = client_on(socket)
    client.flushall()
    before = int(client.info()["used_memory"])
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        environment = {"JDQ_HOME": folder, "JDQ_STORE": f"{folder}/store", "JDQ_BROKER_URL": f"redis+socket://{socket}"}
        archive_ms = fill(client, environment)
        memory = int(client.info()["used_memory"]) - before
        jobs_s = wall_s("jobs", environment=environment) - wall_s("--version", environment=environment)
        book = JobBook(client, lambda: JobFiles(Path(folder) / "store"))
        began = time.perf_counter()
        book.jobs()
        all_s = time.perf_counter() - began
        began = time.perf_counter()
        lost = book.recover()
        recover_s = time.perf_counter() - began
    assert lost == 0
    registry = CollectorRegistry()
    registry.register(LedgerCollector(client))
    scrapes = []
    for _ in range(5):
        began = time.perf_counter()
        generate_latest(registry)
        scrapes.append(time.perf_counter() - began)
    client.flushall()
    return [
        ("100,000 jobs: jdq jobs after start-up", f"{jobs_s * 1000:.0f} ms", "<= 150 ms"),
        ("  against reading what Redis keeps of them", f"{all_s / max(jobs_s, 0.001):.0f}x faster", ""),
        ("  Redis memory", f"{memory / 1e6:.0f} MB", "<= 100 MB"),
        ("  one scrape of the metrics", f"{statistics.median(scrapes) * 1000:.0f} ms", "<= 50 ms"),
        ("  archiving one job", f"{archive_ms:.1f} ms", ""),
        ("  jdq recover, 10,100 files", f"{recover_s:.1f} s", ""),
    ]


def share_rows(socket: str) -> list[Row]:
    """Shares over 1,000 chunks of 50 workers, and a second owner behind 1,000 jobs."""
    from tests.queue.conftest import CLOCK, Clock, source_on_test_clock
    from tests.queue.test_fair_share import Simulation

    client = client_on(socket)
    source = scripts._source
    scripts._source = source_on_test_clock
    try:
        client.set(CLOCK, round(time.time() * 1000))
        shares = {f"owner{number}": share for number, share in enumerate((1.0, 1, 1, 2, 2, 2, 3, 3, 5, 0.8))}
        jobs = {owner: planned(client, owner, 1000) for owner in shares}
        client.delete("jdq:usage:cpu")
        simulation = Simulation([worker_on(client, f"w{n}", shares) for n in range(50)], jobs, Clock(client))
        simulation.run(1000)
    finally:
        scripts._source = source
    fair = sum(simulation.device_s.values()) / sum(shares.values())
    worst = max(abs(simulation.device_s[owner] / fair / share - 1) for owner, share in shares.items())
    client.flushall()
    first = [planned(client, "alice", 10) for _ in range(1000)]
    ledger = worker_on(client, "w")
    ledger.next(first[0])
    second, _ = JobBook(client).create(SPEC, owner="bob")
    chunks = 1
    while (lease := ledger.next(first[0])) and lease.job != second:
        chunks += 1
    client.flushall()
    return [
        ("shares of 10 owners, 50 workers, 1,000 chunks", f"within {100 * worst:.1f} %", "<= 5 %"),
        ("a second owner's first chunk, behind 1,000 jobs", f"is the next: {chunks == 1}", "the next"),
    ]


def preemption_rows() -> list[Row]:
    """An urgent job beside a fine-tune of low priority, on a stack of its own with the tiny encoder."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        environment = os.environ | {"JDQ_HOME": f"{folder}/home", "OMP_NUM_THREADS": "1"}

        def jdq(*arguments: str) -> str:
            done = subprocess.run([JDQ, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True)
            return done.stdout.strip()

        def status(job: str) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(jdq("status", job, "--json"))
            return found

        jdq("model", "tiny", f"{folder}/tiny", "--dim", "32", "--layers", "1")
        table = Path(folder) / "postings.csv"
        with table.open("w", newline="") as stream:
            rows = [(f"{n} we seek {word}", word) for n in range(30) for word in ("cooks", "nurses", "drivers")]
            csv.writer(stream).writerows([("text", "label"), *rows])
        jdq("up")
        try:
            asked = ("submit", "fine-tune", str(table), "--encoder", f"{folder}/tiny", "--max-length", "32")
            low = jdq(*asked, "--priority", "low", "--epochs", "2000")
            while (status(low)["steps_done"] or 0) < 20:
                time.sleep(0.2)
            left_s = status(low)["eta_s"]
            urgent = jdq(*asked, "--priority", "high", "--epochs", "1", "--wait")
            found = status(urgent)
            waited_s = found["started"] - found["created"]
            while not status(low)["chunks_running"]:
                time.sleep(0.2)
            jdq("cancel", low)
        finally:
            jdq("down")
    return [
        ("preemption of a fine-tune", f"{waited_s:.1f} s", "< 10 s"),
        ("  against waiting for its end", f"{left_s / waited_s:.0f}x faster", ""),
    ]
