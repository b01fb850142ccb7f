"""What the store costs beside plain numpy: a table of ratios, each from interleaved rounds of one run.

    python benchmarks/store.py                     the table (about two minutes)
    python benchmarks/store.py --cases scan put    some of it
    python benchmarks/store.py --stores            scan and gather beside other stores; those not installed are left out
    python benchmarks/store.py --texts 1000000     extraction of so many texts with a fake encoder: time and peak memory

Ratios are medians over rounds in which both sides take turns, so that other work on the machine hits both. Data are
warm in the page cache. The rows are random numbers: nothing here depends on their values.
"""

# ruff: noqa: T201 - a program that prints its result
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from store_measure import DIM, PRODUCER, SHARD_ROWS, Line, definition, fill, random_keys, random_rows, ratio
from store_others import stores
from store_reads import gather, scan, shuffle

from jdq.store import Space, open_store


def put(folder: Path, rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(DIM))
    features = random_rows(SHARD_ROWS, DIM)
    fresh = iter(range(1_000))

    def ours() -> None:
        name = space.put(random_keys(SHARD_ROWS, next(fresh)), features, np.ones(SHARD_ROWS), producer=PRODUCER)
        space.shard_path(name).unlink()

    def theirs() -> None:
        random_keys(SHARD_ROWS, 0)
        with (folder / "plain.npy").open("wb") as file:
            np.save(file, features)
            file.flush()
            os.fsync(file.fileno())
        (folder / "plain.npy").unlink()

    share, mine, plain = ratio(ours, theirs, rounds)
    note = f"{mine * 1e3:.0f} and {plain * 1e3:.0f} ms"
    return [
        Line(what="put of 16,384 rows, durable, against np.save + fsync", value=share, target=0.45, unit="x", note=note)
    ]


def lookup(folder: Path, rounds: int, keys_total: int = 10_000_000) -> list[Line]:
    space = open_store(folder / "s").space(definition(1))
    keys, _ = fill(space, keys_total, 250_000)
    start = time.perf_counter()
    space.missing(keys[:1])
    built = time.perf_counter() - start
    size = sum(path.stat().st_size for path in (space.path / "index").iterdir()) / keys_total
    reader = Space(space.path)
    asked = keys[np.random.default_rng(0).integers(0, keys_total, 1_000_000)].copy()
    asked[::2, 0] ^= 1  # half of them are not stored
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        missing = reader.missing(asked)
        times.append(time.perf_counter() - start)
    assert abs(int(missing.sum()) - 500_000) < 10
    note = (
        f"in {keys_total:,} keys, half of them missing; the first call {times[0]:.2f} s; index built in {built:.1f} s"
    )
    rate = 1 / statistics.median(times[1:])
    return [
        Line(what="key look-up", value=rate, target=1, unit="M/s", note=note),
        Line(what="index", value=size, target=26, unit="bytes/key", most=True),
    ]


def opening(folder: Path, rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(8))
    keys, _ = fill(space, 20_000, 20)
    start = time.perf_counter()
    space.missing(keys[:1])
    built = time.perf_counter() - start
    code = (
        "import sys, time, pathlib, numpy, h5py; from jdq.store import Space\n"
        "start = time.perf_counter(); space = Space(pathlib.Path(sys.argv[1]))\n"
        "space.missing(numpy.zeros((1, 16), numpy.uint8)); print(time.perf_counter() - start)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code, space.path], capture_output=True, check=True).stdout)
        for _ in range(rounds)
    ]
    note = f"imports not counted; {built:.2f} s without its index"
    value = 1e3 * statistics.median(times)
    return [
        Line(
            what="opening a space of 1,000 shards and one look-up",
            value=value,
            target=50,
            unit="ms",
            most=True,
            note=note,
        )
    ]


CASES = {
    "scan": scan,
    "gather": gather,
    "put": put,
    "lookup": lookup,
    "open": opening,
    "shuffle": shuffle,
    "stores": stores,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[name for name in CASES if name != "stores"])
    parser.add_argument("--stores", action="store_true", help="compare with other stores, where they are installed")
    parser.add_argument("--texts", type=int, help="extract so many texts with a fake encoder, and show peak memory")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to write a few GiB (default: the temporary folder)")
    parser.add_argument("--json", type=Path, help="also write the table there")
    options = parser.parse_args()
    cases = ["stores"] if options.stores else options.cases
    folder = Path(tempfile.mkdtemp(prefix="jdq-benchmark-", dir=options.folder))
    lines = []
    try:
        if options.texts:
            extract(folder, options.texts)
            return
        for name in cases:
            (folder / name).mkdir()
            for line in CASES[name](folder / name, options.rounds):
                lines.append(line)
                sign = "<=" if line.most else ">="
                verdict = "" if not line.target else f"{sign} {line.target:g} {'reached' if line.reached else 'MISSED'}"
                print(f"{line.what:<70} {line.value:8.2f} {line.unit:<10} {verdict:<18} {line.note}", flush=True)
            shutil.rmtree(folder / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(line) | {"reached": line.reached} for line in lines], indent=2))


def extract(folder: Path, texts: int) -> None:
    """Import, extract in chunks and read back, each in a process of its own: time and peak memory of each."""
    program = str(Path(__file__).with_name("store_phases.py"))
    for phase in ("write-csv", "import", "plan", "worker", "verify", "scan"):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, program, phase, folder, str(texts)], stdout=subprocess.PIPE, text=True, check=True
        )
        print(f"{phase:<12} {time.perf_counter() - start:8.1f} s   {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
