"""A flipped bit in any file of a store, or its end cut off: what is read is what was written, or an error."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from pathlib import Path

import numpy as np
import pytest

from jdq.store.errors import StoreError
from jdq.store.job_files import JobFiles
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.listing import list_store
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.counts import count_missing, count_rows
from jdq.store.spaces.feature_space import Space
from jdq.store.store import Store, open_store
from jdq.store.trained import Heads, Models
from tests.store.fake_datasets import write_store
from tests.store.fake_features import sentences
from tests.store.test_models import head_file

ROUNDS = int(os.environ.get("JDQ_FAULT_ROUNDS", "144"))
JOB = "job-1"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every kind of file."""
    from jdq.store.files.digests import to_json, write_manifest

    store, version, space = write_store(tmp_path_factory.mktemp("kinds") / "store", sentences(40), chunk=5)
    assert not Space(space.path).missing(version.keys()).any()
    list_store(store)
    store.settle_precision("bfloat16")
    version.put_split(None, np.arange(40, dtype=np.uint8) % 3, {"seed": 1})
    files = JobFiles(store.root)
    files.put_result(JOB, {"computed": 3, "nested": {"a": [1, 2.5, "é"]}})
    files.put_array(JOB, "part-1", np.random.default_rng(0).random((20, 3), dtype=np.float32))
    (store.root / "runs" / JOB / "predictions.csv").write_text("text,predicted_label\na,b\n" * 20)
    files.describe_table(store.root / "runs" / JOB / "predictions.csv")
    Heads(store.root).put(JOB, head_file({"head": "logreg", "accuracy": 0.9}) + bytes(range(64)))
    model = Models(store.root).place(JOB)
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(random.Random(1).randbytes(500))
    (model / "jdq.json").write_bytes(to_json({"steps": 3}))
    write_manifest(model)
    return store.root


def read_all(root: Path) -> dict[str, object]:
    """Everything that the store's readers give."""
    store = open_store(root)
    opened = store.open("posts")
    version = opened.version
    split = version.get_split()
    heads, models = Heads(root), Models(root)
    for trained in (heads, models):
        trained.check(JOB)
    table = root / "runs" / JOB / "predictions.csv"
    JobFiles(root).check(table.with_suffix(".json"))
    return {
        "table": table.read_bytes(),
        "precision": store.precision(),
        "features": opened.read().tobytes(),
        "lengths": opened.n_tokens().tolist(),
        "texts": version.texts(),
        "labels": version.labels().tolist(),
        "sizes": version.n_bytes().tolist(),
        "record": version.record,
        "imports": version.imports(),
        "spaces": version.spaces(),
        "split": split and (split.parts.tolist(), split.record.fields),
        "result": JobFiles(root).get_result(JOB),
        "part": JobFiles(root).get_array(JOB, "part-1").tolist(),
        "head": heads.record(JOB),
        "model": models.record(JOB),
        "weights": (Path(models.encoder(JOB)) / "model.safetensors").read_bytes(),
        "count": opened.space.count(),
        "listed": (count_rows(opened.space), count_missing(opened.space, version.record.digest, version.keys())),
    }


KINDS = {
    "STORE.json": "STORE.json",
    "precision": "precision.json",
    "record": "datasets/posts/*/dataset.json",
    "table": "datasets/posts/*/table.parquet",
    "keys": "datasets/posts/*/keys.npy",
    "sizes": "datasets/posts/*/n_bytes.npy",
    "import": "datasets/posts/*/imports/*.json",
    "extraction": "datasets/posts/*/spaces/*.json",
    "split": "datasets/posts/*/splits/*.json",
    "parts": "datasets/posts/*/splits/*.npy",
    "space": "spaces/*/space.json",
    "shard": "spaces/*/shards/*.h5",
    "index": "spaces/*/index/*.keys",
    "counts": "spaces/*/index/counts.json",
    "result": "runs/*/result.json",
    "array": "runs/*/part-1.npy",
    "predictions": "runs/*/predictions.csv",
    "described": "runs/*/predictions.json",
    "head": "heads/*.safetensors",
    "weights": "models/*/model.safetensors",
    "model": "models/*/jdq.json",
    "manifest": "models/*/digests.json",
}
# What is left out where it cannot be read, until it is written again.
LEFT_OUT = {"import": "imports", "extraction": "spaces"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_and_no_cut_of_any_file_is_read_silently(root: Path, kind: str) -> None:
    expected = read_all(root)
    path = sorted(root.glob(KINDS[kind]))[0]
    sound, random_ = path.read_bytes(), random.Random(kind)
    try:
        for round_ in range(ROUNDS):
            data, place = bytearray(sound), random_.randrange(len(sound))
            if round_ % 6:
                data[place] ^= 1 << random_.randrange(8)
            else:
                del data[place:]
            path.write_bytes(data)
            with contextlib.suppress(StoreError):
                found = read_all(root)
                if not found.get(LEFT_OUT.get(kind, "")):
                    found |= {name: expected[name] for name in LEFT_OUT.values() if name == LEFT_OUT.get(kind)}
                assert found == expected
    finally:
        path.write_bytes(sound)
    assert read_all(root) == expected


BROKEN = [b"\xff\xfe{", b"", b"{", b'{"format_version": 99, "format": "jdq-dataset"}']


# Jobs write any JSON object.
MAY_BE_WRITTEN = [("result", BROKEN[-1]), ("described", BROKEN[-1])]


@pytest.mark.parametrize(("kind", "content"), list(itertools.product([k for k in KINDS if k != "STORE.json"], BROKEN)))
def test_one_broken_file_ends_neither_ls_nor_verify_nor_gc(root: Path, kind: str, content: bytes) -> None:
    path = sorted(root.glob(KINDS[kind]))[0]
    sound = path.read_bytes()
    path.write_bytes(content)
    try:
        store = Store(root)
        summary, found = list_store(store), verify(store).findings
        collect_garbage(store, dry_run=True, unused=True)
        if kind == "counts":
            assert found == []
        elif (kind, content) not in MAY_BE_WRITTEN:
            assert any(str(path).startswith(finding.path) for finding in found)
        assert summary.spaces or kind == "space"
    finally:
        path.write_bytes(sound)


def failing_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads of `path` fail as those of a bad block do."""
    real, bad = os.pread, path.stat().st_ino

    def pread(fd: int, size: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == bad:
            raise OSError(5, "Input/output error")
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", pread)


@pytest.mark.parametrize("rows", [5, 5000])
def test_a_bad_block_names_the_rows_and_repair_recomputes_them(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(rows * 2), chunk=rows)
    bad = space.shard_path(space.shard_names()[0])
    failing_reads(bad, monkeypatch)
    found = verify(store).findings
    assert [(finding.kind, finding.path) for finding in found] == [("shard", str(bad))]
    assert "Input/output error" in found[0].fact
    assert verify(store, repair=True).findings[0].repaired.startswith("moved to")
    assert int(store.open_space(space.digest).missing(version.keys()).sum()) == rows


def test_a_shard_that_another_machine_truncates_is_damaged_and_ends_no_process(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(5000), chunk=5000)
    rows = space.rows(version.keys())
    path = space.shard_path(space.shard_names()[0])
    inode = path.stat()
    os.truncate(path, 8192)
    os.utime(path, ns=(inode.st_atime_ns, inode.st_mtime_ns))
    with pytest.raises(StoreError, match="the file ends at"):
        rows[:]
    assert not verify(store).sound
