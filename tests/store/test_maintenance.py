"""verify, gc and compact: what they find, what they take away, and what they never lose."""

from __future__ import annotations

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
from jdq.store.maintenance.listing import summarize_dataset
from jdq.store.maintenance.verify import verify
from jdq.store.spaces import segment
from jdq.store.spaces.compact import compact
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.mapped_shard import identity_of
from jdq.store.spaces.quarantine import quarantine
from tests.store.fake_datasets import import_texts, write_store
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences


def flip(path: Path, position: int) -> None:
    """Turn one bit in the middle of the file, in place."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    store, _, _ = write_store(tmp_path / "store", sentences(300))
    shards: list[tuple[int, int]] = []
    report = verify(store, after_shard=lambda done, total: shards.append((done, total)))
    assert report.sound
    assert (report.spaces, report.shards, report.rows, report.datasets) == (1, 3, 300, 1)
    assert shards == [(1, 3), (2, 3), (3, 3)]


def test_a_flipped_bit_is_found_and_repair_makes_its_rows_missing(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    path = space.shard_path(space.shard_names()[0])
    flip(path, 4096 + 50)
    assert verify(store, quick=True).sound
    found = verify(store)
    assert [(f.kind, f.path) for f in found.findings] == [("shard", str(path))]
    assert "/features has digest" in found.findings[0].fact
    repaired = verify(store, repair=True)
    assert repaired.findings[0].repaired.startswith("moved to")
    assert [f.kind for f in repaired.findings] == ["shard"]
    assert "100 of 300 rows" in repaired.incomplete[0].fact
    texts = version.texts()
    missing = space.missing(version.keys())
    put_texts(space, [text for text, lacks in zip(texts, missing, strict=True) if lacks])
    assert verify(store).sound
    np.testing.assert_array_equal(Space(space.path).read(version.keys()), fake_features(texts))


def test_missing_rows_are_reported_and_are_no_damage(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(300))
    space.shard_path(space.shard_names()[0]).unlink()
    report = verify(store)
    assert report.sound
    assert [f.fact for f in report.incomplete] == [
        f"100 of 300 rows are not in feature space {space.digest}; extracting its file again computes them"
    ]


def test_a_damaged_definition_is_restored_from_a_shard(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(10))
    (space.path / "space.json").write_bytes(b"{}")
    assert [f.kind for f in verify(store).findings] == ["space"]
    assert len(verify(store).incomplete) == 1
    assert verify(store, repair=True).findings[0].repaired == "restored from a shard"
    assert verify(store).sound


def test_a_damaged_index_is_found_and_removed(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000))
    Space(space.path).missing(version.keys())
    (cache,) = (space.path / "index").iterdir()
    flip(cache, 5000)
    assert [f.kind for f in verify(store, repair=True).findings] == ["index"]
    assert verify(store).sound


@pytest.mark.parametrize("position", [5_000, 13_000, 20_500, -9, 30, 3])
def test_a_damaged_index_gives_no_wrong_row_and_no_false_missing(tmp_path: Path, position: int) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(1000))
    Space(space.path).missing(version.keys())
    (cache,) = (space.path / "index").iterdir()
    for offset in range(0, 64, 8):
        flip(cache, position + offset if position > 0 else position - offset)
    np.testing.assert_array_equal(Space(space.path).read(version.keys()), fake_features(version.texts()))
    assert not Space(space.path).missing(version.keys()).any()


def test_compaction_keeps_every_row_and_puts_them_in_the_datasets_order(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000), chunk=37)
    put_texts(space, ["in no dataset"])
    before = set(space.shard_names())
    report = compact(space, order=[version.keys()])
    assert set(report.merged) == before
    assert (len(report.published), report.rows) == (1, 1001)
    np.testing.assert_array_equal(space.open_shard(report.published[0]).keys[:1000], version.keys())
    assert compact(space, order=[version.keys()]).published == ()
    collected = collect_garbage(store, grace_s=0)
    assert len(collected.replaced) == len(before)
    assert space.shard_names() == list(report.published)
    for reader in (space, Space(space.path)):
        np.testing.assert_array_equal(reader.read(version.keys()), fake_features(version.texts()))
        assert not reader.missing(text_keys(["in no dataset"])).any()
    assert verify(store).sound


def test_compaction_splits_at_the_target_and_leaves_large_shards(tmp_path: Path) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(1000), chunk=50)
    target = 400 * (8 * 2 + 16 + 4)
    assert len(compact(space, target_bytes=target).published) == 3
    assert compact(space, target_bytes=target).published == ()
    put_texts(space, sentences(30, start=2000))
    put_texts(space, sentences(30, start=2020))
    report = compact(space, target_bytes=target)
    assert report.rows == 50
    assert not space.missing(version.keys()).any()


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


def test_a_reader_with_an_old_index_survives_compaction_and_gc(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000), chunk=50)
    reader = Space(space.path)
    assert not reader.missing(version.keys()).any()
    compact(space)
    collect_garbage(store, grace_s=0)
    np.testing.assert_array_equal(reader.read(version.keys()), fake_features(version.texts()))


def test_an_index_that_knows_only_the_replaced_shards_is_brought_up_to_date(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(2000), chunk=50)
    Space(space.path).missing(version.keys())
    compact(space)
    collect_garbage(store, grace_s=0)
    fresh = Space(open_store(store.root).space(fake_space()).path)
    assert not fresh.missing(version.keys()).any()


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


def test_damage_is_only_reported_without_repair(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000))
    Space(space.path).missing(version.keys())
    (cache,) = (space.path / "index").iterdir()
    shard = space.shard_path(space.shard_names()[0])
    flip(cache, 5000)
    flip(shard, 4096 + 50)
    assert [(found.kind, found.repaired) for found in verify(store).findings] == [("shard", ""), ("index", "")]
    assert cache.exists()
    assert shard.exists()


def test_a_definition_that_no_shard_has_stays_damaged(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(10))
    (space.path / "space.json").write_bytes(b"{}")
    flip(space.shard_path(space.shard_names()[0]), 3)
    findings = {found.kind: found.repaired for found in verify(store, repair=True).findings}
    assert findings["space"] == ""
    assert findings["shard"].startswith("moved to")


def test_verify_names_damaged_datasets_and_their_missing_files(tmp_path: Path) -> None:
    store, version, _ = write_store(tmp_path / "store", sentences(10))
    other = import_texts(store, sentences(5), name="other")
    third = import_texts(store, sentences(6), name="third")
    flip(version.path / "keys.npy", 150)
    (other.path / "dataset.json").write_text("{}")
    shutil.rmtree(third.path / "imports")
    facts = {Path(found.path).parent.name: found.fact for found in verify(store).findings}
    assert facts["posts"] == "keys.npy has changed since it was written"
    assert "dataset.json" in facts["other"]
    assert verify(store, quick=True).datasets == 2


def test_a_space_that_cannot_be_opened_is_listed_as_unknown(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(10))
    assert [extracted.missing for extracted in summarize_dataset(store, version).extracted] == [0]
    (space.path / "space.json").unlink()
    assert [extracted.missing for extracted in summarize_dataset(store, version).extracted] == [None]


def test_compaction_leaves_damaged_shards_and_names_them(tmp_path: Path) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(300))
    damaged = space.shard_names()[0]
    flip(space.shard_path(damaged), 4096 + 50)
    report = compact(Space(space.path), order=[version.keys()])
    assert report.damaged == (damaged,)
    assert report.rows == 200
    assert space.shard_path(damaged).exists()


def test_only_the_file_that_was_checked_is_quarantined(tmp_path: Path) -> None:
    _, _, space = write_store(tmp_path / "store", sentences(3))
    shard = space.shard_path(space.shard_names()[0])
    assert quarantine(space.path, shard, (0, 0)) is None
    assert shard.exists()
    assert quarantine(space.path, shard.with_name("none.h5"), identity_of(shard.lstat())) is None
    moved = quarantine(space.path, shard, identity_of(shard.lstat()))
    assert moved is not None
    assert (moved.exists(), shard.exists()) == (True, False)


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
    segment.write(space.path / "index" / "x.keys", [segment.build(lying)], list(lying))
    report = collect_garbage(open_store(store.root), grace_s=0)
    assert (report.replaced, report.waiting) == ([], 1)


def test_unused_shards_with_the_same_used_key_are_all_kept(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(300))
    put_texts(space, [*sentences(3), "nobody's", *sentences(200, start=7000)])
    unused = put_texts(space, sentences(5, start=9000))
    assert collect_garbage(store, unused=True, grace_s=0).unused == [str(space.shard_path(unused))]
