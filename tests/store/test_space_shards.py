"""What a shard is refused for before its rows are read, and that the error names its file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jdq.store import DamagedShard, Space, open_store
from jdq.store.errors import CannotRead
from jdq.store.spaces import mapped_shard
from jdq.store.spaces.mapped_shard import open_shard
from jdq.store.spaces.mmap_file import MappedFiles
from tests.store.fake_features import fake_space, put_texts, sentences


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return open_store(tmp_path).space(fake_space())


def test_a_shard_of_another_space_or_of_other_keys_is_damage(space: Space, tmp_path: Path) -> None:
    other = open_store(tmp_path).space(fake_space(weights="f" * 32))
    name = put_texts(other, sentences(5))
    foreign, misnamed = space.shard_path(name), other.shard_path("a" * 32)
    for path in (foreign, misnamed):
        path.write_bytes(other.shard_path(name).read_bytes())
    with pytest.raises(DamagedShard, match=f"belongs to feature space {other.digest}, not {space.digest}") as raised:
        open_shard(foreign, space=space.digest)
    assert raised.value.path == foreign
    with pytest.raises(DamagedShard, match=f"its keys have the digest {name}, not its name") as raised:
        open_shard(misnamed, space=other.digest)
    assert raised.value.path == misnamed
    assert open_shard(other.shard_path(name), space=other.digest).header.rows == 5


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, DamagedShard), (errno.ENOMEM, CannotRead)])
def test_a_shard_that_cannot_be_mapped_is_named(
    space: Space, number: int, kind: type[DamagedShard | CannotRead], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = space.shard_path(put_texts(space, sentences(5)))

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(MappedFiles, "add", refuse)
    with pytest.raises(kind, match=os.strerror(number)) as raised:
        open_shard(path)
    assert str(path) in str(raised.value)


def test_a_bad_block_of_an_array_is_named(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    path = space.shard_path(put_texts(space, sentences(5000)))
    shard = open_shard(path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(mapped_shard, "read_blocks", refuse)
    with pytest.raises(DamagedShard, match="it cannot be read: Input/output error") as raised:
        shard.check()
    assert raised.value.path == path
