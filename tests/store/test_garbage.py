"""What gc removes, and what it never removes: features that a dataset uses, and files of living writers."""

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.errors import MissingFeatures
from jdq.store.keys import text_keys
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.verify import verify
from jdq.store.spaces import segment
from jdq.store.spaces.compact import compact
from jdq.store.spaces.feature_space import Space
from tests.store.damage import flip
from tests.store.fake_datasets import import_texts, write_store
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences


def test_gc_waits_until_the_replacement_is_old_enough_and_sound(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    (merged,) = compact(space, order=[version.keys()]).published
    report = collect_garbage(store)
    assert (report.replaced, report.waiting) == ([], 3)
    flip(space.shard_path(merged), 4096 + 7)
    assert collect_garbage(store, grace_s=0).replaced == []
    np.testing.assert_array_equal(Space(space.path).read(version.keys()), fake_features(version.texts()))


def test_gc_dry_run_removes_nothing(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    compact(space, order=[version.keys()])
    assert len(collect_garbage(store, dry_run=True, grace_s=0).replaced) == 3
    assert len(space.shard_names()) == 4


def test_gc_removes_what_dead_writers_left(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(3))
    old = space.shards / ".ab.h5.0123456789abcdef.partial"
    young = space.shards / ".ab.h5.ffffffffffffffff.partial"
    old.write_bytes(b"x" * 100)
    young.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    report = collect_garbage(store)
    assert report.leftovers == [str(old)]
    assert (report.size_bytes, old.exists(), young.exists()) == (100, False, True)


def test_gc_of_unused_features_keeps_those_of_every_dataset(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    other = import_texts(store, sentences(50, start=1000), name="other")
    name = put_texts(space, other.texts())
    assert collect_garbage(store, unused=True, grace_s=0).unused == []
    store.datasets.remove("other")
    assert collect_garbage(store, grace_s=0).unused == []
    assert collect_garbage(store, unused=True, grace_s=0).unused == [str(space.shard_path(name))]
    assert not space.missing(version.keys()).any()
    with pytest.raises(MissingFeatures):
        space.rows(text_keys(sentences(1, start=1000)))


def test_quarantined_shards_are_removed_only_on_request(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(300))
    flip(space.shard_path(space.shard_names()[0]), 4096 + 50)
    verify(store, repair=True)
    (damaged,) = (space.path / "quarantine").iterdir()
    assert collect_garbage(store, grace_s=0).quarantined == []
    assert collect_garbage(store, grace_s=0, quarantined=True).quarantined == [str(damaged)]
    assert not damaged.exists()


@pytest.mark.parametrize("name", [".importing-0123456789abcdef", ".removed-0123456789abcdef"])
def test_gc_removes_folders_of_imports_and_removals_that_died(tmp_path: Path, name: str) -> None:
    store, version, _ = write_store(tmp_path / "store", sentences(3))
    left = store.root / "datasets" / name
    left.mkdir()
    (left / "table.parquet").write_bytes(bytes(100))
    assert collect_garbage(store, grace_s=0).leftovers == []
    os.utime(left, (time.time() - 7200,) * 2)
    assert collect_garbage(store).leftovers == [], "a file in it was written just now"
    os.utime(left / "table.parquet", (time.time() - 7200,) * 2)
    report = collect_garbage(store)
    assert (report.leftovers, report.size_bytes > 100) == ([str(left)], True)
    assert [found.version for found in store.datasets.list()] == [version.version]


def test_gc_keeps_unused_features_while_a_dataset_cannot_be_read(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    (version.path / "dataset.json").write_text("{}")
    report = collect_garbage(store, unused=True, grace_s=0)
    assert (report.unused, len(space.shard_names())) == ([], 3)
    assert [str(version.path) in fact for fact in report.unreadable] == [True]


def test_gc_goes_on_after_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000))
    compact(space)
    other = store.space(fake_space(weights="f" * 32))
    damaged = store.space(fake_space(weights="e" * 32))
    (damaged.path / "space.json").write_text("{}")
    flip(version.path / "keys.npy", 200)
    real = os.scandir

    def refusing(path: Path) -> Any:
        if Path(path) == other.shards:
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = collect_garbage(store, unused=True, grace_s=0)
    assert (len(report.replaced), report.unused) == (10, [])
    wanted = sorted([str(damaged.path), str(version.path), str(other.shards)])
    assert sorted(path for path in wanted for fact in report.unreadable if path in fact) == wanted


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [root, *root.rglob("*")]}


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(1000))
    compact(space)
    shutil.rmtree(space.path / "index")
    before = snapshot(store.root)
    report = collect_garbage(open_store(store.root), dry_run=True, unused=True, quarantined=True, grace_s=0)
    assert len(report.replaced) == 10
    assert snapshot(store.root) == before


def test_a_feature_space_whose_making_was_killed_is_a_leftover_and_no_damage(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(10))
    left = store.root / "spaces" / ("0" * 32)
    (left / "shards").mkdir(parents=True)
    assert verify(store).sound
    assert collect_garbage(store, grace_s=0).leftovers == []
    for folder in (left / "shards", left):
        os.utime(folder, (time.time() - 7200,) * 2)
    assert collect_garbage(store).leftovers == [str(left)]
    assert not left.exists()
    assert [found.digest for found in store.spaces()] == [space.digest]


def test_gc_removes_a_shard_only_if_its_owners_have_its_keys_whatever_the_index_says(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(1000))
    (small, *_), big = space.shard_names(), put_texts(space, sentences(1000, start=5000))
    keys = space.open_shard(small).keys
    others = {name: space.open_shard(name).keys for name in space.shard_names()}
    lying = others | {big: np.concatenate([keys, others[big][len(keys) :]])}
    (space.path / "index").mkdir(exist_ok=True)
    for path in (space.path / "index").iterdir():
        path.unlink()
    segment.write(space.path / "index", [segment.build(lying)], list(lying))
    report = collect_garbage(open_store(store.root), grace_s=0)
    assert (report.replaced, report.waiting) == ([], 1)


def test_unused_shards_with_the_same_used_key_are_all_kept(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(300))
    put_texts(space, [*sentences(3), "nobody's", *sentences(200, start=7000)])
    unused = put_texts(space, sentences(5, start=9000))
    assert collect_garbage(store, unused=True, grace_s=0).unused == [str(space.shard_path(unused))]
