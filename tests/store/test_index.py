"""The index against a plain dictionary, whatever shards come and go."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jdq.store import open_store
from jdq.store.keys import Keys, text_keys
from jdq.store.maintenance.verify import verify
from jdq.store.spaces import segment
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.index import Index
from jdq.store.spaces.mapped_shard import MappedShard, open_shard
from jdq.store.spaces.segment import Segment
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences


def alive(part: Segment) -> frozenset[str]:
    return frozenset(part.shards)


def test_keys_that_share_a_half_are_distinguished() -> None:
    keys = np.zeros((6, 16), np.uint8)
    keys[:, 7] = [1, 1, 1, 2, 2, 3]
    keys[:, 15] = [5, 6, 7, 5, 6, 5]
    part = segment.build({"a": keys[::-1].copy()})
    np.testing.assert_array_equal(segment.places(part.entries[2][segment.find(part, keys)])[1], [5, 4, 3, 2, 1, 0])
    other = keys.copy()
    other[:, 15] = 9
    assert (segment.find(part, other) == -1).all()


def test_keys_sort_as_their_bytes_do() -> None:
    keys = text_keys(sentences(200))
    part = segment.build({"a": keys})
    order = sorted(range(200), key=lambda row: bytes(keys[row]))
    np.testing.assert_array_equal(segment.places(part.entries[2][np.arange(200)])[1], order)


def test_an_entry_of_a_removed_shard_does_not_hide_one_of_an_existing_shard() -> None:
    keys = text_keys(sentences(10))
    part = segment.build({"a": keys, "b": keys, "c": keys[:5].copy()})
    high, low = part.entries[0, ::3], part.entries[1, ::3]
    for living in range(2):
        mask = np.arange(3) == living
        entries = part.find(np.sort(high), low[np.argsort(high)], mask)
        assert (segment.places(part.entries[2][entries])[0] == living).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True), min_size=1, max_size=8), st.data())
def test_merged_segments_say_what_their_shards_hold(shards: list[list[int]], data: st.DataObject) -> None:
    all_keys = text_keys(sentences(60 + 1))
    held: dict[str, Keys] = {f"{number}": all_keys[rows] for number, rows in enumerate(shards)}
    parts = [segment.build({name: keys}) for name, keys in held.items()]
    living = data.draw(st.sets(st.sampled_from(sorted(held)), min_size=1))
    merged = segment.merge(parts, living)
    assert set(merged.shards) == living
    entries = segment.find(merged, all_keys)
    expected = {row for name in living for row in shards[int(name)]}
    assert set(np.flatnonzero(entries >= 0).tolist()) == expected
    for row in expected:
        [[number], [place]] = segment.places(merged.entries[2][entries[[row]]])
        assert shards[int(merged.shards[number])][place] == row


def test_a_merge_by_ranges_of_keys_is_a_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [segment.build({f"{n}": text_keys(sentences(50, 30 * n)), f"{n}b": text_keys(["x"])}) for n in range(5)]
    living = ["0", "1", "3", "3b"]
    whole = segment.merge(parts, living)
    monkeypatch.setattr(segment, "RANGE_ENTRIES", 7)
    for merged in (segment.merge(parts, living), segment.write(tmp_path, parts, living)):
        assert merged is not None
        np.testing.assert_array_equal(merged.entries, whole.entries)
        assert merged.shards == whole.shards
        assert merged.sizes().tolist() == [50, 50, 50, 1]


def test_a_damaged_segment_is_not_merged_into_a_sound_one(tmp_path: Path) -> None:
    space = open_store(tmp_path).space(fake_space())
    for start in range(0, 100, 10):
        put_texts(space, sentences(10, start))
    keys = text_keys(sentences(100))
    assert not Space(space.path).missing(keys).any()
    (path,) = (space.path / "index").glob("*.keys")
    sound = path.read_bytes()
    for position in range(len(sound) - 24 * 100, len(sound), 61):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 32]) + sound[position + 1 :])
        put_texts(space, sentences(1, 1000 + position))
        reader = Space(space.path)
        assert not reader.missing(keys).any()
        np.testing.assert_array_equal(reader.read(keys), fake_features(sentences(100)))


def test_verify_finds_a_sound_segment_that_says_something_else_than_the_shards(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    space = store.space(fake_space())
    names = [put_texts(space, sentences(10, start)) for start in range(0, 100, 10)]
    other = {name: text_keys(sentences(10, 7 + 10 * number)) for number, name in enumerate(names)}
    (space.path / "index").mkdir()
    segment.write(space.path / "index", [segment.build(other)], names)
    (written,) = segment.paths(space.path / "index")
    found = verify(store).findings
    assert [(finding.kind, finding.path) for finding in found] == [("index", str(written))]
    assert "its entries are not the keys of shard" in found[0].fact
    assert verify(store, quick=True).sound
    assert verify(store, repair=True).findings[0].repaired
    assert verify(store).sound
    np.testing.assert_array_equal(Space(space.path).read(text_keys(sentences(100))), fake_features(sentences(100)))


def test_a_segments_file_is_read_back_and_each_of_its_bytes_is_checked(tmp_path: Path) -> None:
    part = segment.build({"a" * 32: text_keys(sentences(10)), "b" * 32: text_keys(sentences(10, 10))})
    segment.write(tmp_path, [part], part.shards)
    (path,) = segment.paths(tmp_path)
    read = segment.read(path)
    assert read is not None
    np.testing.assert_array_equal(read.entries, part.entries)
    sound = path.read_bytes()
    for position in range(len(sound)):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 4]) + sound[position + 1 :])
        assert segment.read(path) is None, position


@pytest.mark.parametrize("content", [b"", b"JDQINDEX", b"x" * 1000, b"JDQINDEX" + b"\xff" * 100])
def test_what_is_no_segment_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.keys").write_bytes(content)
    assert segment.read(tmp_path / "x.keys") is None
    (tmp_path / "link.keys").symlink_to(tmp_path / "x.keys")
    assert segment.read(tmp_path / "link.keys") is None


def test_many_small_puts_leave_few_segments(tmp_path: Path) -> None:
    space = open_store(tmp_path).space(fake_space())
    for start in range(100):
        put_texts(space, sentences(1, start))
        space.missing(text_keys(["x"]))
    files = segment.paths(space.path / "index")
    assert 0 < len(files) <= 8
    fresh = Space(space.path)
    np.testing.assert_array_equal(fresh.read(text_keys(sentences(100))), fake_features(sentences(100)))
    assert fresh.count() == 100


def test_an_index_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    space = open_store(tmp_path).space(fake_space())
    (space.path / "index").write_text("a file where the folder should be")
    for start in range(0, 100, 10):
        put_texts(space, sentences(10, start))
    for _ in range(2):
        np.testing.assert_array_equal(Space(space.path).read(text_keys(sentences(100))), fake_features(sentences(100)))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["put", "delete", "fresh", "drop"]), st.integers(0, 14)), max_size=40))
def test_missing_is_what_the_folder_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    space = open_store(tmp_path_factory.mktemp("steps")).space(fake_space())
    reader = Space(space.path)
    names: dict[int, str] = {}
    for step, number in steps:
        if step == "put":
            names[number] = put_texts(space, sentences(3, number * 3))
        elif step == "delete" and number in names:
            space.shard_path(names.pop(number)).unlink()
        elif step == "fresh":
            reader = Space(space.path)
        elif step == "drop":
            for path in (space.path / "index").glob("*"):
                path.unlink()
        expected = [row // 3 not in names for row in range(45)]
        assert reader.missing(text_keys(sentences(45))).tolist() == expected
        assert space.missing(text_keys(sentences(45))).tolist() == expected


def test_a_segment_of_another_version_or_length_is_none(tmp_path: Path) -> None:
    segment.write(tmp_path, [segment.build({"a": text_keys(["a", "b"])})], ["a"])
    (path,) = segment.paths(tmp_path)
    data = path.read_bytes()
    for changed in (data.replace(b'"version":1', b'"version":2'), data + b"\0", data.replace(b'["a"]', b'["b"]')):
        assert changed != data
        path.write_bytes(changed)
        assert segment.read(path) is None


@pytest.mark.parametrize(
    ("added", "kept"),
    [
        ([110, 40, 10, 2], [110, 40, 10, 2]),
        ([10, 6], [16]),
        ([10, 5], [15]),
        ([100, 4, 3], [100, 7]),
        ([11, 5], [11, 5]),
    ],
)
def test_segments_are_merged_until_each_is_over_twice_as_long_as_all_shorter_ones(
    tmp_path: Path, added: list[int], kept: list[int]
) -> None:
    index = Index("x", tmp_path / "shards", tmp_path / "index")
    for number, rows in enumerate(added):
        name = f"{number:032x}"
        index._attach(segment.build({name: text_keys(sentences(rows, 1000 * number))}), [name])
        index._tidy()
    assert sorted(map(len, index._parts), reverse=True) == kept
    assert index.sizes().tolist() == added
    index._indexed.discard(index.names[0])
    assert index.sizes().tolist() == [0, *added[1:]]


def test_keys_are_counted_by_ranges_as_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = open_store(tmp_path).space(fake_space())
    for start in (0, 5, 10):
        put_texts(space, sentences(10, start))
    monkeypatch.setattr(segment, "RANGE_ENTRIES", 7)
    assert space.count() == 20


@pytest.mark.parametrize(("shards", "files"), [(1, 0), (2, 1), (3, 1), (5, 1)])
def test_keys_are_merged_in_bounded_memory_and_many_are_worth_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int, files: int
) -> None:
    monkeypatch.setattr("jdq.store.spaces.index.WORTH_A_FILE_KEYS", 20)
    space = open_store(tmp_path).space(fake_space())
    for number in range(shards):
        put_texts(space, sentences(10, 10 * number))
    reader = Space(space.path)
    texts = sentences(10 * shards)
    assert not reader.missing(text_keys(texts)).any()
    assert len(segment.paths(space.path / "index")) == files
    np.testing.assert_array_equal(reader.read(text_keys(texts)), fake_features(texts))


def test_a_damaged_shard_is_read_again_only_when_its_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = open_store(tmp_path).space(fake_space())
    path, keys = space.shard_path(put_texts(space, ["a", "b"])), text_keys(["a", "b"])
    sound = path.read_bytes()
    path.write_bytes(sound[:100])
    reader = Space(space.path)
    opened: list[Path] = []

    def counting(path: Path, **more: Any) -> MappedShard:
        opened.append(path)
        return open_shard(path, **more)

    monkeypatch.setattr("jdq.store.spaces.index.open_shard", counting)
    for _ in range(3):
        assert reader.missing(keys).all()
    assert opened == [path]
    path.unlink()
    path.write_bytes(sound)
    assert not reader.missing(keys).any()
    assert (opened, reader.index.unreadable()) == ([path, path], {})
