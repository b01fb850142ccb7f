"""What the way from a CSV to stored features costs beyond the network: ``python benchmarks/pipeline.py``.

One run, with the real ledger, store and encoder and one worker of each queue in this process, so that only
Celery's message (a few milliseconds per job) is left out. The alternative is the network only: the same texts,
tokenized beforehand, through the same loaded encoder. Weights are random; the shape is bart-base's. `prepared` is what
the host does before a pass, reading and tokenizing chunks: its rate must exceed the network's, or the device waits.

On a GPU: ``python benchmarks/pipeline.py --device cuda --rows 40000``.
"""

import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from jdq.cli.stack.server import find_server, server_command
from jdq.store.datasets import DatasetVersion
from jdq.worker.config import read_config
from jdq.worker.encoder.by_name import FeatureEncoder, load
from jdq.worker.encoder.options import automatic_precision
from jdq.worker.jobs import work_for
from jdq.worker.jobs.plan import CHUNK_TOKENS
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Extract, Queue
from jdq.worker.queue.records import Job

POSTINGS = Path(__file__).parent.parent / "demo" / "jobs.csv"


class Place:
    """The benchmark's own Redis and store, and a worker of each queue."""

    def __init__(self, folder: Path, device: str) -> None:
        settings = {"JDQ_HOME": str(folder / "home"), "JDQ_BROKER_URL": f"redis+socket://{folder}/r.sock"}
        # No worker is registered here whose device would decide; 0 decides by the number of texts.
        chunk_tokens = CHUNK_TOKENS["cuda"] if device == "cuda" else 0
        config = read_config(settings | {"JDQ_DEVICE": device, "JDQ_CHUNK_TOKENS": str(chunk_tokens)})
        self.device = device
        self.workers: dict[Queue, Runtime] = {
            queue: Runtime(config, worker=queue, queue=queue) for queue in ("cpu", "gpu")
        }

    def imported(self, file: Path) -> DatasetVersion:
        """The file as a dataset."""
        return self.workers["cpu"].store.datasets.import_table(file)

    def extract(self, version: DatasetVersion, encoder: str) -> Job:
        """The extraction, done."""
        precision = automatic_precision(self.device)
        spec = Extract(dataset=version.name, version=version.version, encoder=encoder, precision=precision)
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


def cold(place: Place, folder: Path, rows: int, rounds: int) -> None:
    """Prints the rates of the way from CSV to stored features, of the network only, and of what precedes a pass."""
    encoder = model(folder / "base", dim=768, layers=6)
    network = load(encoder, max_length=1024, precision=automatic_precision(place.device), device=place.device)
    ways, alone, one, two = (list[float]() for _ in range(4))
    for number in range(rounds + 1):
        texts = table(folder / f"cold{number}.csv", rows, 8, random.Random(number))
        tokens = network.tokenize(texts)
        alone.append(len(tokens.ids) / seconds(lambda tokens=tokens: network.encode(tokens)))  # type: ignore[misc]
        file = folder / f"cold{number}.csv"
        ways.append(len(tokens.ids) / seconds(lambda file=file: place.extract(place.imported(file), encoder)))  # type: ignore[misc]
        for rates, threads in ((one, 1), (two, 2)):
            rates.append(prepared(place.imported(file), network, threads))
    # The first round loads and warms.
    way, only, by_one, by_two = (statistics.median(rates[1:]) for rates in (ways, alone, one, two))
    click.echo(f"CSV to store compared with the network only, bart-base shape, {os.cpu_count()} cores, {rows} texts")
    click.echo(f"  {way / only:.2f} of its rate   ({way:,.0f} against {only:,.0f} tokens/s)   aim >= 0.9")
    click.echo(f"  prepared: {by_one / only:.1f} of its rate one chunk at a time, {by_two / only:.1f} two at a time")


def seconds(call: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def prepared(version: DatasetVersion, network: FeatureEncoder, threads: int) -> float:
    """Tokens per second that so many threads read and tokenize, each a chunk at a time."""
    chunks = np.array_split(np.arange(version.n_rows), 8)
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        counts = list(pool.map(lambda rows: len(network.tokenize(version.texts(rows)).ids), chunks))
    return sum(counts) / (time.perf_counter() - began)


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
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(rows: int, rounds: int, device: str) -> None:
    """Measures the way from a CSV to the store."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as name:
        folder = Path(name)
        command = server_command(find_server(), data=folder, socket=folder / "r.sock")
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not (folder / "r.sock").exists():
                time.sleep(0.05)
            place = Place(folder, device)
            cold(place, folder, rows, rounds)
            known = warm(place, folder, 10_000, rounds)
        finally:
            server.terminate()
            server.wait()
    click.echo(f"10,000 known texts: {known:.3f} s, no batch run   aim < 0.3 s")


if __name__ == "__main__":
    main()
