"""One phase of benchmarks/store.py --texts, in a process of its own, which tells its peak memory at the end.

The worker's encoder is fake: a feature is the text's key, repeated. So every row can be checked at the end.
"""

# ruff: noqa: T201 - a program that prints its result
import csv
import random
import sys
from pathlib import Path

import numpy as np

from jdq.store import FeatureSpace, Space, open_store, text_keys
from jdq.store.maintenance.verify import verify

DIM = 768
CHUNK_ROWS = 4096
SPACE = FeatureSpace(
    architecture="key", weights="0", tokenizer="0", pooling="cls", max_length=1024, cutting="right",
    storage_dtype="float16", precision="float32", dim=DIM, definition=1,
)  # fmt: skip


def fake_features(keys: np.ndarray) -> np.ndarray:
    """Each key's bytes as numbers, 48 times over."""
    return np.tile(keys.astype(np.float16), DIM // keys.shape[1])


def write_csv(folder: Path, texts: int) -> None:
    """Texts of 1,000 characters on average, one in a hundred a repeat."""
    random_ = random.Random(0)
    words = ["".join(random_.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(5000)]
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(texts):
            source = number - 7 if number % 100 == 99 else number
            text = f"{source} {' '.join(words[source % 4000 :][: 20 + source % 210])}"
            writer.writerow([text, f"c{number % 7}"])


def import_csv(folder: Path, _: int) -> None:
    version = open_store(folder / "store").datasets.import_table(folder / "data.csv", name="big")
    print(f"{version.n_rows:,} rows, {version.n_texts:,} texts;", end=" ")


def plan(folder: Path, _: int) -> None:
    """The rows that lack, in chunks."""
    store = open_store(folder / "store")
    keys = np.asarray(store.datasets.get("big").keys())
    first = np.sort(np.unique(keys.view("V16").ravel(), return_index=True)[1])
    np.save(folder / "rows.npy", first[store.space(SPACE).missing(keys[first])])


def worker(folder: Path, _: int) -> None:
    """All chunks, one after another: reads the texts, \"encodes\" them, puts a shard."""
    store = open_store(folder / "store")
    space, version, rows = store.space(SPACE), store.datasets.get("big"), np.load(folder / "rows.npy", mmap_mode="r")
    for start in range(0, len(rows), CHUNK_ROWS):
        texts = version.texts(rows[start : start + CHUNK_ROWS])
        keys = text_keys(texts)
        lengths = np.array([len(text) // 4 for text in texts], np.uint32)
        space.put(keys, fake_features(keys), lengths, producer={"jdq": "benchmark"})
    version.record_space(space.digest, encoder="key", job="benchmark")


def check(folder: Path, _: int) -> None:
    report = verify(open_store(folder / "store"))
    print(f"{report.shards} shards, {report.rows:,} rows, {len(report.findings)} findings;", end=" ")


def scan(folder: Path, _: int) -> None:
    """Every row is the one that belongs to its text. Mapped pages of the store count as this process's memory."""
    table = open_store(folder / "store").open("big")
    keys, at, own = np.asarray(table.version.keys()), 0, 0.0
    for block in Space(table.space.path).rows(keys).blocks():
        assert np.array_equal(block, fake_features(keys[at : at + len(block)]))
        at += len(block)
        own = max(own, memory("RssAnon"))
    print(f"{at:,} rows right; at most {own:.2f} GiB of its own, the rest mapped features;", end=" ")


def memory(kind: str) -> float:
    """A line of /proc/self/status, in GiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[kind].split()[0]) / 2**20


PHASES = {"write-csv": write_csv, "import": import_csv, "plan": plan, "worker": worker, "verify": check, "scan": scan}

if __name__ == "__main__":
    PHASES[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
    print(f"peak memory {memory('VmHWM'):.2f} GiB")
