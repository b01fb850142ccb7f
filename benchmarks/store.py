"""What the store costs beside plain numpy: a table of ratios, each from interleaved rounds of one run.

    python benchmarks/store.py                     the table (about two minutes)
    python benchmarks/store.py --cases scan put    some of it
    python benchmarks/store.py --stores            scan and gather beside other stores; those not installed are left out
    python benchmarks/store.py --texts 1000000     extraction of so many texts with a fake encoder: time and peak memory

Ratios are medians over rounds in which both sides take turns, so that other work on the machine hits both. Data are
warm in the page cache. The rows are random numbers: nothing here depends on their values.
"""

# ruff: noqa: T201 - a program that prints its result
from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from jdq.store import BatchPlan, FeatureSpace, Space, open_store
from jdq.store.spaces.batches import batches

DIM = 1024
SHARD_ROWS = 16_384
PRODUCER = {"jdq": "benchmark"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table; `value` is to be at least `target` ("most": at most)."""

    what: str
    value: float
    target: float
    unit: str
    most: bool = False
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the target was met."""
        return self.value <= self.target if self.most else self.value >= self.target


def definition(dim: int) -> FeatureSpace:
    """A feature space of random numbers."""
    return FeatureSpace(
        architecture="random", weights="0", tokenizer="0", pooling="cls", max_length=1024, cutting="right",
        storage_dtype="float16", precision="float32", dim=dim, definition=1,
    )  # fmt: skip


def random_keys(rows: int, seed: int = 0) -> np.ndarray:
    """Keys as blake2b would spread them."""
    return np.frombuffer(np.random.default_rng(seed).bytes(16 * rows), np.uint8).reshape(rows, 16)


def random_rows(rows: int, dim: int) -> np.ndarray:
    """Features, all finite."""
    return (np.random.default_rng(1).integers(0, 2048, (rows, dim), dtype=np.uint16)).astype(np.float16)


def fill(space: Space, rows: int, shard_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Put so many rows; their keys and features."""
    keys, features = random_keys(rows), random_rows(rows, space.definition.dim)
    for at in range(0, rows, shard_rows):
        part = slice(at, at + shard_rows)
        space.put(keys[part], features[part], np.ones(len(keys[part])), producer=PRODUCER)
    return keys, features


def ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """How many times as fast ours is: the median over rounds of theirs/ours, and both medians in seconds."""
    times: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = {}
        for side in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.perf_counter()
            side()
            pair[side] = time.perf_counter() - start
        times.append((pair[ours], pair[theirs]))
    # The first round warms caches, and checks each shard's digest.
    warm = times[1:]
    return (
        statistics.median(b / a for a, b in warm),
        statistics.median(a for a, _ in warm),
        statistics.median(b for _, b in warm),
    )


def add_up(blocks: object) -> int:
    """Touch every byte at memory speed."""
    return sum(int(block.view(np.uint64).sum()) for block in blocks)  # type: ignore[attr-defined]


def mapped_beside(folder: Path, features: np.ndarray) -> np.memmap:
    """The same rows as one raw file."""
    features.tofile(folder / "raw")
    return np.memmap(folder / "raw", np.float16, "r", shape=features.shape)


def scan(folder: Path, rounds: int) -> list[Line]:
    return [*scan_of(folder / "8", 8, SHARD_ROWS, rounds), *scan_of(folder / "100", 100, 1311, rounds)]


def scan_of(folder: Path, shards: int, shard_rows: int, rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(DIM))
    keys, features = fill(space, shards * shard_rows, shard_rows)
    raw = mapped_beside(folder, features)
    start = time.perf_counter()
    rows = Space(space.path).rows(keys)
    add_up(rows.blocks())
    first = time.perf_counter() - start
    share, ours, theirs = ratio(
        lambda: add_up(rows.blocks()),
        lambda: add_up(raw[at : at + 8192] for at in range(0, len(raw), 8192)),
        8 * rounds,
    )
    size = features.nbytes / 1e9
    note = f"{size / ours:.1f} and {size / theirs:.1f} GB/s; first scan, with look-up and digests, {first:.3f} s"
    return [Line(what=f"warm scan, {shards} shards, against np.memmap", value=share, target=0.95, unit="x", note=note)]


def gather(folder: Path, rounds: int) -> list[Line]:
    one = gather_from(folder / "1", 1, SHARD_ROWS, {8192: 0.9}, rounds)
    return [*one, *gather_from(folder / "100", 100, 1311, {256: 0.5, 4096: 0.9}, rounds)]


def gather_from(folder: Path, shards: int, shard_rows: int, targets: dict[int, float], rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(DIM))
    keys, features = fill(space, shards * shard_rows, shard_rows)
    raw, rows, lines = mapped_beside(folder, features), space.rows(keys), []
    for size, target in targets.items():
        picks = [np.random.default_rng(seed).integers(0, len(keys), size) for seed in range(4)]
        share, ours, theirs = ratio(
            lambda picks=picks: [rows[pick] for pick in picks],
            lambda picks=picks: [raw[pick] for pick in picks],
            rounds,
        )
        note = f"{4 * size / ours / 1e6:.2f} and {4 * size / theirs / 1e6:.2f} M rows/s"
        what = f"warm gather of {size} random rows, {shards} shards, against np.memmap"
        lines.append(Line(what=what, value=share, target=target, unit="x", note=note))
    return lines


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


def shuffle(folder: Path, rounds: int) -> list[Line]:
    from threadpoolctl import threadpool_limits

    # On one thread: two that share a busy core wait for each other, and the ratio is that of the waiting.
    with threadpool_limits(1):
        return shuffled_epochs(folder, rounds)


def shuffled_epochs(folder: Path, rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(DIM))
    keys, _ = fill(space, 32_768, SHARD_ROWS)
    rows, weights, targets = space.rows(keys), np.zeros((DIM, 10), np.float32), np.eye(10, dtype=np.float32)

    def epoch(plan: BatchPlan, head: bool) -> None:
        for batch in batches(rows, plan):
            if head:
                X = batch.features.astype(np.float32)
                X /= 2048
                weights[:] -= 1e-6 * X.T @ (X @ weights - targets[batch.rows % 10])
            else:
                batch.features.view(np.uint64).sum()

    lines = []
    for head, what in ((True, "that trains a linear head"), (False, "that only adds up")):
        share, ours, theirs = ratio(
            lambda head=head: epoch(BatchPlan(shuffle=True), head), lambda head=head: epoch(BatchPlan(), head), rounds
        )
        note = f"{len(rows) / ours / 1e6:.2f} and {len(rows) / theirs / 1e6:.2f} M rows/s"
        # The second has no target: without work a sequential epoch copies nothing, a shuffled one each row twice.
        target = 0.8 if head else 0.0
        lines.append(
            Line(
                what=f"block-shuffled epoch {what}, against a sequential one",
                value=share,
                target=target,
                unit="x",
                note=note,
            )
        )
    return lines


CASES = {"scan": scan, "gather": gather, "put": put, "lookup": lookup, "open": opening, "shuffle": shuffle}


Reader = tuple[Callable[[], object], Callable[[np.ndarray], object]]


def arrow(folder: Path, features: np.ndarray) -> Reader:
    import datasets

    data = datasets.Dataset.from_dict(
        {"x": features}, datasets.Features({"x": datasets.List(datasets.Value("float16"), DIM)})
    )
    data.save_to_disk(folder / "arrow")
    mapped = datasets.load_from_disk(folder / "arrow").with_format("numpy")
    blocks = range(0, len(features), 8192)
    return lambda: add_up(mapped[at : at + 8192]["x"] for at in blocks), lambda pick: mapped[pick]["x"]


def zarr_store(folder: Path, features: np.ndarray) -> Reader:
    import zarr

    array = zarr.create_array(
        folder / "zarr", shape=features.shape, chunks=(1024, DIM), dtype=features.dtype, compressors=None
    )
    array[:] = features
    blocks = range(0, len(features), 8192)
    return lambda: add_up(array[at : at + 8192] for at in blocks), lambda pick: array.get_orthogonal_selection(pick)


def lance_store(folder: Path, features: np.ndarray) -> Reader:
    import lance
    import pyarrow as pa

    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), DIM)
    data = lance.write_dataset(pa.table({"x": column}), folder / "lance")

    def numbers(column: pa.ChunkedArray) -> np.ndarray:
        return np.concatenate([part.flatten().to_numpy(zero_copy_only=False) for part in column.chunks]).reshape(
            -1, DIM
        )

    return (
        lambda: add_up(numbers(pa.chunked_array([batch["x"]])) for batch in data.to_batches(batch_size=8192)),
        lambda pick: numbers(data.take(pick)["x"]),
    )


def parquet(folder: Path, features: np.ndarray) -> Reader:
    import pyarrow as pa
    from pyarrow import parquet as pq

    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), DIM)
    pq.write_table(
        pa.table({"x": column}), folder / "x.parquet", row_group_size=1024, compression="none", use_dictionary=False
    )
    file = pq.ParquetFile(folder / "x.parquet")

    def numbers(groups: list[int]) -> np.ndarray:
        return file.read_row_groups(groups)["x"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)

    def take(pick: np.ndarray) -> np.ndarray:
        out = np.empty((len(pick), DIM), np.float16)
        for group in np.unique(pick // 1024):
            places = np.flatnonzero(pick // 1024 == group)
            out[places] = numbers([int(group)])[pick[places] % 1024]
        return out

    groups = [list(range(at, min(at + 8, file.num_row_groups))) for at in range(0, file.num_row_groups, 8)]
    return lambda: add_up(map(numbers, groups)), take


def hdf5(folder: Path, features: np.ndarray) -> Reader:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        file["x"] = features
    array = h5py.File(folder / "x.h5")["x"]
    blocks = range(0, len(features), 8192)

    def take(pick: np.ndarray) -> np.ndarray:
        sorted_, back = np.unique(pick, return_inverse=True)
        return array[sorted_][back]

    return lambda: add_up(array[at : at + 8192] for at in blocks), take


OTHERS = {
    "HF datasets (Arrow)": arrow,
    "zarr": zarr_store,
    "lance": lance_store,
    "parquet": parquet,
    "h5py slicing": hdf5,
}


def stores(folder: Path, rounds: int) -> list[Line]:
    """Scan 65,536 rows and gather 2,048 of them, here and there: what each library does with plain settings."""
    space = open_store(folder / "s").space(definition(DIM))
    keys, features = fill(space, 65_536, SHARD_ROWS)
    rows, pick = space.rows(keys), np.random.default_rng(3).integers(0, 65_536, 2048)
    lines = []
    for name, make in OTHERS.items():
        try:
            scan_other, gather_other = make(folder, features)
        except ImportError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
            continue
        np.testing.assert_array_equal(np.asarray(gather_other(pick)), features[pick])
        for what, ours, theirs in (
            ("scan", lambda: add_up(rows.blocks()), scan_other),
            ("gather", lambda: rows[pick], lambda take=gather_other: take(pick)),
        ):
            share, mine, other = ratio(ours, theirs, rounds)
            lines.append(
                Line(
                    what=f"{what} against {name}",
                    value=share,
                    target=1,
                    unit="x",
                    note=f"{mine * 1e3:.1f} and {other * 1e3:.1f} ms",
                )
            )
    return lines


CASES["stores"] = stores


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
