"""Many keys (features of two columns): time and peak memory of planning, ls, compact and gc, a process for each.

python benchmarks/store_keys.py --keys 30000000

Anonymous memory is what the process needs; the rest of the resident memory is the page cache, mapped. The first plan
builds the index. Needs 100 bytes of disk per key.
"""

# ruff: noqa: T201 - a program that prints its result

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from store_measure import PRODUCER, definition, random_keys, random_rows

from jdq.store import open_store
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.listing import list_store
from jdq.store.spaces.compact import compact
from jdq.store.store import Store

SHARD_ROWS = 250_000


def fill(store: Store, keys: int) -> object:
    space = store.space(definition(2))
    for seed in range(keys // SHARD_ROWS):
        rows, ones = random_rows(SHARD_ROWS, 2), np.ones(SHARD_ROWS)
        space.put(random_keys(SHARD_ROWS, seed), rows, ones, producer=PRODUCER)
    return f"{keys} keys"


def plan(store: Store, _: int) -> object:
    asked = np.concatenate([random_keys(SHARD_ROWS, seed) for seed in (0, 1, 10**6, 10**6 + 1)])
    return f"{np.count_nonzero(store.spaces()[0].missing(asked))} of {len(asked)} missing"


PHASES: dict[str, Callable[[Store, int], object]] = {
    "fill": fill,
    "plan": plan,
    "ls": lambda store, _: f"{list_store(store).spaces[0].rows} rows",
    "compact": lambda store, _: f"{len(compact(store.spaces()[0]).published)} shards published",
    "gc": lambda store, _: f"{len(collect_garbage(store, grace_s=0).replaced)} shards removed",
}


def measure(phase: str, folder: Path, keys: int) -> None:
    peak = [0]

    def watch() -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            peak.append(max(peak.pop(), *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))))
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    start = time.perf_counter()
    found = PHASES[phase](open_store(folder), keys)
    wall, resident = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{phase:8} {wall:8.2f} s  {peak[0] >> 10:6} MiB anonymous, {resident >> 10:6} MiB resident  {found}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--phase", nargs=2, metavar=("PHASE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        measure(options.phase[0], Path(options.phase[1]), options.keys)
        return
    with tempfile.TemporaryDirectory(prefix="jdq-benchmark-") as folder:
        for phase in ("fill", "plan", "plan", "ls", "ls", "compact", "gc", "ls"):
            subprocess.run(
                [sys.executable, __file__, "--keys", str(options.keys), "--phase", phase, folder], check=True
            )


if __name__ == "__main__":
    main()
