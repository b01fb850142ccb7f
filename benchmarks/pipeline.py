"""What the way from a CSV to stored features costs beyond the network: ``python benchmarks/pipeline.py``.

One run, with the real ledger, store and encoder and one worker of each queue in this process, so that only
Celery's message (a few milliseconds per job) is left out. The alternative is the network only: the same texts,
tokenized beforehand, through the same loaded encoder. Weights are random; the shape is bart-base's.
"""

from __future__ import annotations

import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from jdq.cli.stack.server import find_server, server_command
from jdq.store.datasets import DatasetVersion
from jdq.worker.config import read_config
from jdq.worker.encoder.by_name import load
from jdq.worker.jobs import work_for
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Extract, Queue
from jdq.worker.queue.records import Job

POSTINGS = Path(__file__).parent.parent / "demo" / "jobs.csv"


class Place:
    """The benchmark's own Redis and store, and a worker of each queue."""

    def __init__(self, folder: Path) -> None:
        config = read_config({"JDQ_HOME": str(folder / "home"), "JDQ_BROKER_URL": f"redis+socket://{folder}/r.sock"})
        self.workers: dict[Queue, Runtime] = {
            queue: Runtime(config, worker=queue, queue=queue) for queue in ("cpu", "gpu")
        }

    def imported(self, file: Path) -> DatasetVersion:
        """The file as a dataset."""
        return self.workers["cpu"].store.datasets.import_table(file)

    def extract(self, version: DatasetVersion, encoder: str) -> Job:
        """The extraction, done."""
        spec = Extract(dataset=version.name, version=version.version, encoder=encoder)
        job, _ = self.workers["cpu"].jobbook.create(spec)
        for worker in self.workers.values():
            ChunkLoop(
                worker.ledger,
                job,
                work_for=lambda lease, worker=worker: work_for(lease, worker),  # type: ignore[misc]
                send=lambda orders: None,
                time_slice_s=3600,
                heartbeat_s=2,
                stall_s=3600,
                on_cpu=True,
            ).run()
        found = self.workers["cpu"].jobbook.job(job)
        assert found.state == "succeeded", found.error
        return found


def table(file: Path, rows: int, sentences: int, rng: random.Random) -> list[str]:
    """Writes a CSV of texts made of the demo's sentences; returns the texts."""
    with POSTINGS.open(newline="", encoding="utf-8") as stream:
        pool = [s for row in csv.DictReader(stream) for s in row["text"].split(". ")]
    texts = [". ".join(rng.sample(pool, rng.randint(1, 2 * sentences))) for _ in range(rows)]
    texts = [f"{text} {n}" for n, text in enumerate(texts)]
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *((text, "ab"[n % 2]) for n, text in enumerate(texts))])
    return texts


def model(folder: Path, *, dim: int, layers: int) -> str:
    """A BART of this shape with random weights."""
    shape = ["--dim", str(dim), "--layers", str(layers)]
    subprocess.run(
        [sys.executable, "-m", "jdq.worker.encoder.tiny", str(folder), *shape], check=True, capture_output=True
    )
    return str(folder)


def cold(place: Place, folder: Path, rows: int, rounds: int) -> tuple[float, float]:
    """Median seconds from CSV to stored features, and of the network only."""
    encoder = model(folder / "base", dim=768, layers=6)
    network = load(encoder, max_length=1024, precision="float32", device="cpu")
    ways: list[float] = []
    alone: list[float] = []
    for number in range(rounds + 1):
        texts = table(folder / f"cold{number}.csv", rows, 8, random.Random(number))
        tokens = network.tokenize(texts)
        began = time.perf_counter()
        network.encode(tokens)
        alone.append(time.perf_counter() - began)
        began = time.perf_counter()
        place.extract(place.imported(folder / f"cold{number}.csv"), encoder)
        ways.append(time.perf_counter() - began)
    # The first round loads and warms.
    return statistics.median(ways[1:]), statistics.median(alone[1:])


def warm(place: Place, folder: Path, rows: int, rounds: int) -> float:
    """Median seconds of an extraction whose texts are all in the store."""
    encoder = model(folder / "tiny", dim=64, layers=2)
    table(folder / "warm.csv", rows, 2, random.Random(0))
    version = place.imported(folder / "warm.csv")
    place.extract(version, encoder)
    walls = []
    for _ in range(rounds):
        began = time.perf_counter()
        known = place.extract(version, encoder)
        walls.append(time.perf_counter() - began)
        assert known.counts["reused"] == rows
        assert known.chunks_total == 1, "a batch was run"
    return statistics.median(walls)


@click.command()
@click.option("--rows", type=int, default=300, show_default=True, help="Texts of the cold run.")
@click.option("--rounds", type=int, default=3, show_default=True)
def main(rows: int, rounds: int) -> None:
    """Measures the way from a CSV to the store."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as name:
        folder = Path(name)
        command = server_command(find_server(), data=folder, socket=folder / "r.sock")
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not (folder / "r.sock").exists():
                time.sleep(0.05)
            place = Place(folder)
            way, alone = cold(place, folder, rows, rounds)
            known = warm(place, folder, 10_000, rounds)
        finally:
            server.terminate()
            server.wait()
    click.echo(f"CSV to store compared with the network only, bart-base shape, {os.cpu_count()} cores, {rows} texts")
    click.echo(f"  {alone / way:.2f} of its rate   ({way:.1f} s against {alone:.1f} s)   aim >= 0.9 on a CPU")
    click.echo(f"10,000 known texts: {known:.3f} s, no batch run   aim < 0.3 s")


if __name__ == "__main__":
    main()
