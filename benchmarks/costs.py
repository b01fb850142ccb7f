"""What jobs cost in core-seconds and bytes: ``python -m benchmarks.costs``; the tables of docs/reference/costs.md.

Core-seconds are the processor time of the job with everything around it, so that other programs on the machine disturb
little; divide by the cores for the time on an idle machine. Texts are made of the demo's sentences, about 75 tokens
each. Encoders have random weights of the named shapes, which cost what trained ones do. The rows of a head are features
of the smallest encoder.
"""

import csv
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.pipeline import POSTINGS, model
from jdq import Client
from jdq.client import Job

SHAPES = {"a small BART (4 layers, 256 wide)": (256, 4), "bart-base": (768, 6), "bart-large": (1024, 12)}
SENTENCES = 5


def table(rows: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts and labels: each text has sentences of one label's postings."""
    pool: dict[str, list[str]] = {}
    with POSTINGS.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            pool.setdefault(row["label"], []).extend(row["text"].split(". "))
    rng = random.Random(seed)
    labels = [rng.choice(list(pool)) for _ in range(rows)]
    return [f"{'. '.join(rng.choices(pool[label], k=SENTENCES))} {n}" for n, label in enumerate(labels)], labels


def core_seconds(start: Callable[[], Job[Any]]) -> tuple[float, dict[str, Any]]:
    """What the job took in this process, and its description."""
    before = time.process_time()
    job = start().wait()
    return time.process_time() - before, job.describe()


def extraction(client: Client, shape: str, encoder: str, texts: int) -> None:
    """Prints what an extraction costs, after a small one that loads the encoder."""
    name = Path(encoder).name
    for rows in (16, texts):
        drawn, labels = table(rows, rows)
        start = partial(client.extract, drawn, label=labels, encoder=encoder, name=f"cost-{rows}-{name}")
        seconds, job = core_seconds(start)
    space = client.store.open(job["dataset"]).space
    size = sum(file.stat().st_size for file in (space.path / "shards").glob("*.h5")) / space.count()
    rate = job["tokens"] / seconds
    click.echo(f"| {shape} | {rate:,.0f} | {1000 * seconds / texts:,.0f} | {size:,.0f} B |")


def show(what: str, start: Callable[[], Job[Any]], rows: int) -> None:
    """Prints a job's core-seconds, of all and per 1,000 rows."""
    seconds, _ = core_seconds(start)
    click.echo(f"| {what} | {seconds:,.1f} | {1000 * seconds / rows:,.1f} |")


def _processor() -> str:
    """The processor's name, where the system tells it."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


@click.command()
@click.option("--texts", type=int, default=100, show_default=True, help="Texts of an extraction.")
@click.option("--rows", type=int, default=2000, show_default=True, help="Rows of a head.")
def main(texts: int, rows: int) -> None:
    """Print the costs as Markdown."""
    click.echo(f"{_processor()}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory(prefix="jdq-") as name:
        folder = Path(name)
        client = Client.local(folder / "store", quiet=True)
        encoders = {shape: model(folder / str(dim), dim=dim, layers=layers) for shape, (dim, layers) in SHAPES.items()}
        click.echo("| encoder | tokens per core-second | core-seconds per 1,000 texts | on disk per text |")
        click.echo("|---|---:|---:|---:|")
        for shape, encoder in encoders.items():
            extraction(client, shape, encoder, texts)
        small, base, _ = encoders.values()
        drawn, labels = table(rows, 1)
        client.extract(drawn, label=labels, encoder=small, name="heads").wait()
        new, _ = table(texts, 3)
        few, few_labels = table(80, 4)
        head = client.train_head("heads")
        head.wait()
        click.echo("\n| job | core-seconds | per 1,000 rows |\n|---|---:|---:|")
        for kind in ("auto", "logreg"):
            start = partial(client.train_head, "heads", head=kind, seed=1)
            show(f"train-head, {kind}, {rows:,} rows", start, rows)
        show("search over logreg, 10 trials", lambda: client.search("heads", heads=["logreg"]), rows)
        show(f"predict, {rows:,} rows with stored features", lambda: client.predict("heads", head=head), rows)
        show(f"predict, {texts:,} new texts, the small BART", lambda: client.predict(new, head=head, name="new"), texts)
        tune = partial(client.fine_tune, few, label=few_labels, encoder=base, epochs=1, name="tune")
        show("fine-tune, bart-base, 56 train texts, 1 epoch", tune, 56)


if __name__ == "__main__":
    main()
