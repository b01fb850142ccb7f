"""Compaction keeps every row, for old readers and new ones, and leaves damaged shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jdq.store import open_store
from jdq.store.keys import text_keys
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.compact import compact
from jdq.store.spaces.feature_space import Space
from tests.store.damage import flip
from tests.store.fake_datasets import write_store
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences


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


def test_compaction_leaves_damaged_shards_and_names_them(tmp_path: Path) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(300))
    damaged = space.shard_names()[0]
    flip(space.shard_path(damaged), 4096 + 50)
    report = compact(Space(space.path), order=[version.keys()])
    assert report.damaged == (damaged,)
    assert report.rows == 200
    assert space.shard_path(damaged).exists()
