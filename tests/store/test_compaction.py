"""Which shards a compaction merges, what the new ones say, and that every row stays, for old and new readers."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jdq.store import Space, open_store
from jdq.store.keys import Keys, text_keys
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.verify import verify
from jdq.store.spaces import compact as compaction
from jdq.store.spaces import segment
from jdq.store.spaces.compact import VALUE_CHARACTERS, compact
from jdq.store.spaces.index import Index, Mask
from jdq.store.spaces.segment import Positions
from tests.store.fake_datasets import write_store
from tests.store.fake_features import fake_features, fake_lengths, fake_space, put_texts, sentences

# Of 8 halves, with the key and the number of tokens.
ROW_BYTES = 8 * 2 + 16 + 4


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return open_store(tmp_path).space(fake_space())


def put(space: Space, texts: list[str], **producer: str) -> str:
    return space.put(text_keys(texts), fake_features(texts), fake_lengths(texts), producer=producer)


def texts_of(space: Space, name: str, among: list[str]) -> list[str]:
    by_key = dict(zip(map(bytes, text_keys(among)), among, strict=True))
    return [by_key[bytes(key)] for key in space.open_shard(name).keys]


def test_a_merged_shard_says_what_made_its_rows_each_field_with_all_its_values(space: Space) -> None:
    put(space, ["a"], device="cpu", jdq="1")
    put(space, ["b"], device="gpu", jdq="1", note="x" * 600)
    put(space, ["c"], device="cpu")
    (merged,) = compact(space).published
    assert json.loads(space.open_shard(merged).header.producer) == {
        "compacted": "yes",
        "device": "cpu | gpu",
        "jdq": "1",
        "note": "x" * VALUE_CHARACTERS,
    }


def test_a_key_of_several_small_shards_is_put_once(space: Space) -> None:
    put_texts(space, sentences(20))
    put_texts(space, sentences(20, 10))
    put_texts(space, sentences(20, 25))
    report = compact(space, order=[text_keys(sentences(45)[::-1])])
    assert (len(report.merged), report.rows) == (3, 45)
    assert texts_of(space, report.published[0], sentences(45)) == sentences(45)[::-1]
    assert space.n_tokens(text_keys(sentences(45))).tolist() == fake_lengths(sentences(45)).tolist()


def test_a_key_that_the_index_finds_in_one_shard_and_then_in_another_is_put_once(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may after its segments were merged."""
    first = put_texts(space, [*sentences(5), "twice"])
    put_texts(space, ["twice", *sentences(5, 10)])
    real, answers = Index.locate, [0, 1]

    def locate(self: Index, keys: Keys, among: Mask | None = None) -> tuple[Positions, Positions]:
        if len(keys) == 1 and among is not None and among.any() and answers:
            number = answers.pop()
            return np.array([number]), np.array([5 if self.names[number] == first else 0])
        return real(self, keys, among)

    monkeypatch.setattr(Index, "locate", locate)
    report = compact(space, order=[text_keys(["twice"]), text_keys(["twice"])])
    assert (answers, report.rows) == ([], 11)
    assert not space.missing(text_keys([*sentences(5), *sentences(5, 10), "twice"])).any()


@pytest.mark.parametrize(("target", "merged"), [(20 * ROW_BYTES, 0), (20 * ROW_BYTES + ROW_BYTES, 2)])
def test_shards_of_half_the_target_are_not_small(space: Space, target: int, merged: int) -> None:
    put_texts(space, sentences(10))
    put_texts(space, sentences(10, 10))
    report = compact(space, target_bytes=target)
    assert len(report.merged) == merged
    assert len(report.published) == merged // 2


@pytest.mark.parametrize("repeats", [0, 1, 2])
def test_narrow_features_are_merged_up_to_a_number_of_rows_also_if_datasets_repeat_them(
    space: Space, monkeypatch: pytest.MonkeyPatch, repeats: int
) -> None:
    monkeypatch.setattr(compaction, "MOST_ROWS", 25)
    for start in range(0, 60, 10):
        put_texts(space, sentences(10, start))
    report = compact(space, order=[text_keys(sentences(60))] * repeats)
    assert [len(space.open_shard(name).keys) for name in report.published] == [25, 25, 10]
    assert report.rows == 60


def test_what_a_large_shard_has_is_not_moved(space: Space) -> None:
    put_texts(space, sentences(100))
    assert space.missing(text_keys(["x"])).all()  # the large shard is number 0 in the index
    put_texts(space, [*sentences(5), *sentences(5, 200)])
    put_texts(space, sentences(5, 300))
    report = compact(space, target_bytes=100 * ROW_BYTES)
    assert (len(report.merged), report.rows) == (2, 10)


def test_one_small_shard_is_not_merged(space: Space) -> None:
    put_texts(space, sentences(10))
    report = compact(space)
    assert (report.space, report.merged, report.published, report.rows) == (space.digest, [], [], 0)


def test_rows_that_are_all_in_one_small_shard_are_left_there(space: Space) -> None:
    put_texts(space, sentences(10))
    put_texts(space, sentences(9))
    assert compact(space).published == []


def test_what_is_in_no_dataset_comes_last_shard_by_shard(space: Space) -> None:
    put_texts(space, sentences(4))
    put_texts(space, sentences(4, 4))
    report = compact(space, order=[text_keys([*sentences(2, 5), "unknown", "sentence number 0"])])
    names = texts_of(space, report.published[0], sentences(8))
    assert names[:3] == ["sentence number 5", "sentence number 6", "sentence number 0"]
    assert sorted(names) == sorted(sentences(8))


def test_a_shard_whose_features_are_damaged_is_found_while_its_rows_are_put(space: Space) -> None:
    names = [put_texts(space, sentences(10, start)) for start in (0, 10, 20)]
    data = bytearray(space.shard_path(names[1]).read_bytes())
    place = data.index(fake_features(sentences(1, 15)).tobytes())
    data[place] ^= 1
    space.shard_path(names[1]).write_bytes(data)
    reader = Space(space.path)
    report = compact(reader, order=[text_keys(sentences(30))])
    assert (report.damaged, report.merged) == ([names[1]], sorted([names[0], names[2]]))
    assert (report.rows, len(report.published)) == (20, 1)
    assert reader.missing(text_keys(sentences(30))).tolist() == [False] * 10 + [True] * 10 + [False] * 10
    assert space.shard_path(names[1]).exists()


def test_a_shard_that_is_removed_meanwhile_is_left_out(space: Space) -> None:
    names = [put_texts(space, sentences(10, start)) for start in (0, 10, 20)]

    def order() -> Iterator[Keys]:
        yield text_keys(sentences(15))
        space.shard_path(names[1]).unlink()

    report = compact(space, order=order())
    assert (report.rows, report.merged) == (20, sorted([names[0], names[2]]))
    assert Space(space.path).missing(text_keys(sentences(30))).sum() == 10


def test_shards_that_others_publish_meanwhile_are_not_merged(space: Space) -> None:
    names = [put_texts(space, sentences(10, start)) for start in (0, 10, 20, 30)]

    def order() -> Iterator[Keys]:
        put_texts(space, sentences(9, 21))
        yield text_keys(sentences(40))

    report = compact(space, order=order(), target_bytes=21 * ROW_BYTES)
    assert (report.rows, report.merged) == (40, sorted(names))
    assert [texts_of(space, name, sentences(40)) for name in report.published] == [sentences(21), sentences(19, 21)]


def test_an_index_that_names_other_rows_has_no_wrong_row_moved(space: Space) -> None:
    first, _ = [put_texts(space, sentences(10, start)) for start in (0, 10)]
    wrong = np.concatenate([text_keys(sentences(5, 900)), text_keys(sentences(10))])
    segment.write(space.path / "index", [segment.build({first: wrong})], [first])
    # Row 14, beyond the end, is taken for the last one, which does have the tenth text.
    assert compact(Space(space.path), order=[text_keys(sentences(20))]).rows == 11
    np.testing.assert_array_equal(Space(space.path).read(text_keys(sentences(20))), fake_features(sentences(20)))


def test_compaction_keeps_every_row_and_puts_them_in_the_datasets_order(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000), chunk=37)
    put_texts(space, ["in no dataset"])
    before = set(space.shard_names())
    report = compact(space, order=[version.keys()])
    assert report.merged == sorted(before)
    assert (len(report.published), report.rows) == (1, 1001)
    np.testing.assert_array_equal(space.open_shard(report.published[0]).keys[:1000], version.keys())
    assert compact(space, order=[version.keys()]).published == []
    collected = collect_garbage(store, grace_s=0)
    assert len(collected.replaced) == len(before)
    assert space.shard_names() == report.published
    for reader in (space, Space(space.path)):
        np.testing.assert_array_equal(reader.read(version.keys()), fake_features(version.texts()))
        assert not reader.missing(text_keys(["in no dataset"])).any()
    assert verify(store).sound


def test_compaction_splits_at_the_target_and_leaves_large_shards(tmp_path: Path) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(1000), chunk=50)
    target = 400 * ROW_BYTES
    assert len(compact(space, target_bytes=target).published) == 3
    assert compact(space, target_bytes=target).published == []
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
