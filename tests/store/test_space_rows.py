"""Rows over several shards: the right ones however they are asked for, and none of a damaged shard."""

from pathlib import Path

import numpy as np
import pytest

from jdq.store import DamagedShard, Space, open_store
from jdq.store.files.digests import digest_of
from jdq.store.keys import places_by_owner, text_keys
from jdq.store.spaces.rows import FeatureRows
from jdq.store.spaces.validator import layout_of
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences

TEXTS = sentences(60)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    """Three shards of 20 rows."""
    made = open_store(tmp_path).space(fake_space())
    for start in (0, 20, 40):
        put_texts(made, TEXTS[start : start + 20])
    return made


def rows_of(space: Space, texts: list[str]) -> FeatureRows:
    return Space(space.path).rows(text_keys(texts))


@pytest.mark.parametrize(
    "order", [range(60), range(59, -1, -1), [*range(10, 30), *range(10, 30), 5, 59, *range(40, 59)]]
)
def test_every_slice_has_its_rows(space: Space, order: list[int]) -> None:
    texts = [TEXTS[number] for number in order]
    rows, expected = rows_of(space, texts), fake_features(texts)
    assert rows.shape == expected.shape
    assert rows.dtype == expected.dtype
    for start in range(len(texts)):
        np.testing.assert_array_equal(rows[start], expected[start])
        for stop in range(start, min(start + 25, len(texts)) + 1):
            np.testing.assert_array_equal(rows[start:stop], expected[start:stop])
    for block in (1, 7, 20, 60):
        np.testing.assert_array_equal(np.concatenate(list(rows.blocks(block))), expected)


@pytest.mark.parametrize(
    ("size", "lengths", "copied"), [(15, [15, 5] * 3, False), (160, [20] * 3, False), (168, [60], True)]
)
def test_a_block_ends_where_its_shard_does_unless_that_is_near(
    space: Space, size: int, lengths: list[int], copied: bool
) -> None:
    blocks = list(rows_of(space, TEXTS).blocks(size))
    assert [len(block) for block in blocks] == lengths
    assert {block.flags.writeable for block in blocks} == {copied}


def test_rows_are_read_ahead_run_by_run_unless_the_runs_are_many(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []
    monkeypatch.setattr("jdq.store.spaces.rows.read_soon", asked.append)
    monkeypatch.setattr("jdq.store.spaces.rows.LONGEST_ADVICE", 9)
    rows_of(space, TEXTS).read_soon(15, 45)
    assert [len(run) for run in asked] == [5, 20, 5]
    rows_of(space, TEXTS[::2]).read_soon(10, 19)
    rows_of(space, TEXTS[::2]).read_soon(10, 20)
    np.testing.assert_array_equal(np.concatenate(asked), fake_features([*TEXTS[15:45], *TEXTS[20:38:2]]))


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_no_row_of_a_damaged_shard_is_read_in_any_way(space: Space, damaged: int) -> None:
    keys = text_keys(TEXTS)
    path = space.shard_path(digest_of(keys[20 * damaged : 20 * damaged + 20].data))
    data = bytearray(path.read_bytes())
    data[layout_of(path).offsets["features"] + 50] ^= 1
    path.write_bytes(data)
    for first in range(0, 60, 20):
        for which in (
            first,
            first + 19,
            slice(first + 2, first + 9),
            slice(first, first + 20, 3),
            [first + 4, first + 3],
        ):
            rows = Space(space.path).rows(keys)
            if first == 20 * damaged:
                with pytest.raises(DamagedShard, match="/features has digest"):
                    rows[which]
            else:
                np.testing.assert_array_equal(rows[which], fake_features(TEXTS)[which])
    with pytest.raises(DamagedShard):
        list(rows_of(space, TEXTS).blocks())


def test_places_by_owner_are_those_of_each_number_ascending() -> None:
    found = [(owner, places.tolist()) for owner, places in places_by_owner(np.array([5, 0, 5, -1, 2, 0]))]
    assert found == [(0, [1, 5]), (2, [4]), (5, [0, 2])]
    assert list(places_by_owner(np.zeros(0, np.int64))) == []
