"""What a listing says of rows and missing keys, and that it reads no keys for it."""

from pathlib import Path

import msgspec
import pytest

from jdq.store import Space, open_store
from jdq.store.datasets import DatasetVersion
from jdq.store.keys import text_keys
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.listing import summarize_dataset, summarize_space
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.compact import compact
from jdq.store.spaces.counts import count_missing, count_rows
from jdq.store.store import Store
from tests.store.damage import flip
from tests.store.fake_datasets import import_texts, write_store
from tests.store.fake_features import fake_space, put_texts, sentences


def listed(store: Store, version: DatasetVersion, space: Space) -> tuple[int, int | None]:
    """What a new process lists: rows of the space, and rows of the version that are missing."""
    opened = Space(space.path)
    return summarize_space(store, opened).rows, summarize_dataset(store, version).extracted[0].missing


def forbid_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, whoever looks up a key fails."""

    def look_up(*_: object) -> None:
        raise AssertionError("keys were read")

    monkeypatch.setattr("jdq.store.spaces.index.Index.refresh", look_up)
    monkeypatch.setattr("jdq.store.spaces.index.Index.owned", look_up)


def test_a_listing_reads_no_keys_of_new_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(30))
    assert listed(store, version, space) == (30, 0)
    put_texts(space, sentences(20, 100))
    forbid_keys(monkeypatch)
    assert listed(store, version, space) == (50, 0)


def test_missing_rows_are_counted_again_when_shards_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    version, space = import_texts(store, sentences(30)), store.space(fake_space())
    version.record_space(space.digest, encoder="fake", job="j")
    put_texts(space, sentences(10))
    assert listed(store, version, space) == (10, 20)
    put_texts(space, sentences(15, 10))
    assert listed(store, version, space) == (25, 5)
    forbid_keys(monkeypatch)
    assert listed(store, version, space) == (25, 5)


def test_compacted_rows_count_once_before_and_after_gc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    put_texts(space, sentences(10, 295))
    assert listed(store, version, space) == (310, 0)  # five keys were put twice
    assert len(compact(Space(space.path)).merged) == 4
    opened = Space(space.path)
    assert (count_rows(opened), len(opened.shard_names())) == (305, 5)
    collect_garbage(store, grace_s=-1)
    assert len(opened.shard_names()) == 1
    forbid_keys(monkeypatch)
    assert listed(store, version, space) == (305, 0)


def test_keys_that_two_writers_put_count_once_after_gc(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(30))
    put_texts(space, sentences(10, 25))
    assert listed(store, version, space) == (40, 0)
    collect_garbage(store, dry_run=True)
    assert listed(store, version, space) == (40, 0)
    collect_garbage(store)
    assert listed(store, version, space) == (35, 0)


def test_what_a_removed_shard_had_is_missing_again(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    compact(Space(space.path))
    assert listed(store, version, space) == (300, 0)
    merged = max(space.shard_names(), key=lambda name: space.open_shard(name).header.rows)
    space.shard_path(merged).unlink()
    assert listed(store, version, space) == (300, 0)  # gc has not removed the shards that were merged
    space.shard_path(space.shard_names()[0]).unlink()
    assert listed(store, version, space) == (200, 100)


def test_a_damaged_shard_has_no_rows_and_nothing_is_kept_of_it(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    shard = space.shard_path(space.shard_names()[0])
    sound = shard.read_bytes()
    shard.write_bytes(b"")
    assert listed(store, version, space) == (200, 100)
    shard.write_bytes(sound)
    assert listed(store, version, space) == (300, 0)


def test_a_count_whose_keys_could_not_be_read_is_not_kept(tmp_path: Path) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(300))
    shard = space.shard_path(space.shard_names()[0])
    sound = shard.read_bytes()
    keys = text_keys(sentences(300))
    place = sound.index(bytes(space.open_shard(shard.stem).keys[0]))
    shard.write_bytes(sound[:place] + b"\xff\xfe" + sound[place + 2 :])
    assert count_missing(Space(space.path), version.record.digest, keys) == 100
    shard.write_bytes(sound)
    assert count_missing(Space(space.path), version.record.digest, keys) == 0


def test_counts_of_another_version_or_damaged_are_counted_again(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(30))
    file = space.path / "index" / "counts.json"
    for content in (b"\xff", msgspec.json.encode({"shards": "0" * 32, "counts": {"keys": 7}})):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        assert listed(store, version, space) == (30, 0)


def test_a_listing_that_cannot_keep_its_counts_counts_all_the_same(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(30))
    (space.path / "index").write_text("no folder")
    assert listed(store, version, space) == (30, 0)
    (space.path / "index").unlink()
    assert listed(store, version, space) == (30, 0)


def test_verify_finds_damaged_counts_and_repairs_them(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(100))
    assert count_rows(space) == 100
    path = space.path / "index" / "counts.json"
    flip(path, 5)
    assert [(found.kind, found.path) for found in verify(store).findings] == [("index", str(path))]
    assert verify(store, repair=True).findings[0].repaired
    assert verify(store).sound and count_rows(space) == 100
