"""A feature space whose files were changed, exchanged or refused: no wrong row, and an error that says which file."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.store import Space, open_store
from jdq.store.errors import CannotWrite, DamagedShard, MissingFeatures, StoreFormatError
from jdq.store.keys import text_keys
from jdq.store.spaces import segment
from tests.store.damage import flip
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences

TEXTS = sentences(40)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return open_store(tmp_path / "store").space(fake_space())


def test_an_error_of_missing_rows_names_up_to_three_damaged_shards(space: Space) -> None:
    for start in range(0, 40, 8):
        flip(space.shard_path(put_texts(space, TEXTS[start : start + 8])), 10)
    with pytest.raises(MissingFeatures) as caught:
        Space(space.path).read(text_keys(TEXTS))
    assert caught.value.why.count("is damaged: ") == 3
    assert caught.value.positions == tuple(range(40))


@pytest.mark.parametrize("shift", [1, 25])
def test_an_index_that_names_other_rows_gives_no_wrong_row(space: Space, shift: int) -> None:
    """Of this shard, or beyond its end."""
    name = put_texts(space, TEXTS[:30])
    wrong = np.concatenate([text_keys(sentences(shift, 900)), text_keys(TEXTS[:30])])
    segment.write(space.path / "index", [segment.build({name: wrong})], [name])
    reader = Space(space.path)
    assert not reader.missing(text_keys(TEXTS[:30])).any()
    np.testing.assert_array_equal(reader.read(text_keys(TEXTS[:30])), fake_features(TEXTS[:30]))
    assert segment.paths(space.path / "index") == []


def test_a_space_whose_shards_never_stay_is_to_be_read_again(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    put_texts(space, TEXTS)

    def gone(*_: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Space, "open_shard", gone)
    with pytest.raises(StoreFormatError, match=f"feature space {space.path} changed 5 times while it was read"):
        space.read(text_keys(TEXTS))


def foreign_shard(space: Space) -> Path:
    """A shard of another feature space in the place of this one's."""
    other = open_store(space.path.parents[1]).space(fake_space(weights="f" * 32))
    path = space.shard_path(put_texts(space, TEXTS))
    shutil.copy(other.shard_path(put_texts(other, TEXTS)), path)
    return path


def test_a_shard_of_another_space_is_damage_in_every_reading(space: Space) -> None:
    name = put_texts(space, TEXTS)
    assert not space.missing(text_keys(TEXTS)).any()
    path = foreign_shard(space)
    with pytest.raises(DamagedShard, match=f"{path}: it belongs to feature space"):
        space.examine(0)
    with pytest.raises(DamagedShard, match=f"{path}: it belongs to feature space"):
        space.open_shard(name)


def test_a_shard_of_another_space_is_quarantined_when_its_rows_are_put(space: Space) -> None:
    path = foreign_shard(space)
    put_texts(space, TEXTS)
    assert [moved.name[:32] for moved in (space.path / "quarantine").iterdir()] == [path.stem]
    np.testing.assert_array_equal(Space(space.path).read(text_keys(TEXTS)), fake_features(TEXTS))


def test_a_put_that_fails_names_the_file_and_the_reason(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jdq.store.spaces.feature_space.publish", full)
    with pytest.raises(CannotWrite, match="No space left on device") as caught:
        put_texts(space, TEXTS)
    assert (caught.value.path.parent, caught.value.path.suffix) == (space.shards, ".h5")
