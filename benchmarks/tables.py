"""What importing a table costs beside Python's `csv` reader, which only splits it into cells.

    python benchmarks/tables.py                    712,404 rows of three columns, and 500 rows of 10,000

Both read the same file in turns; medians over the rounds, with the file in the page cache. On the wall clock, jdq has a
second core where there is one: it reads ahead in a thread. CPU seconds are those of all threads.
Against jdq: `csv` neither checks, hashes, nor writes anything.
"""

# ruff: noqa: T201 - a program that prints its result
import argparse
import csv
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jdq.store import open_store

# Bytes on macOS, KiB elsewhere.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def write_long(path: Path) -> None:
    """A table of short texts, as in sets of reviews."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("id\ttext\tlabel\n")
        stream.writelines(f"{n}\t영화가 정말 재미있었다, 다시 보고 싶다 {n}\t{n % 2}\n" for n in range(712_404))


def write_wide(path: Path) -> None:
    """A table of many numbers beside its text."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("text\tlabel\t" + "\t".join(f"c{n}" for n in range(9_998)) + "\n")
        for row in range(500):
            stream.write(f"text {row}\t{row % 2}\t" + "\t".join(str(row * n) for n in range(9_998)) + "\n")


def read_with_csv(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as stream:
        for _ in csv.reader(stream, delimiter="\t"):
            pass


def import_with_jdq(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        open_store(folder).datasets.import_table(path)


def seconds(work: Callable[[Path], None], path: Path) -> tuple[float, float]:
    """(wall clock, CPU)"""
    wall, cpu = time.perf_counter(), time.process_time()
    work(path)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("long", write_long), ("wide", write_wide)):
            path = Path(folder) / f"{name}.tsv"
            write(path)
            times = [(seconds(read_with_csv, path), seconds(import_with_jdq, path)) for _ in range(rounds)]
            for place, clock in enumerate(("wall clock", "CPU")):
                ratio = statistics.median(reader[place] / importer[place] for reader, importer in times)
                importer_s = statistics.median(importer[place] for _, importer in times)
                print(f"{name}, {clock}: rows/s {ratio:.2f} of csv's, {importer_s:.1f} s")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e6
            print(f"{name}: peak memory {peak:.0f} MB so far")


if __name__ == "__main__":
    main()
