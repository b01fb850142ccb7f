"""No room: a clear error, a living process, no partial shard, and success once there is room again."""

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.errors import CannotWrite
from jdq.store.keys import text_keys
from jdq.store.spaces.feature_space import Space
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences


def assert_failed_whole(space: Space, texts: list[str]) -> None:
    with pytest.raises(CannotWrite, match="nothing was published"):
        put_texts(space, texts)
    assert space.shard_names() == []
    assert list(space.shards.iterdir()) == []
    assert Space(space.path).missing(text_keys(texts)).all()


@pytest.mark.parametrize("limit", [0, 100, 4096, 20_000])
def test_a_put_over_the_file_size_limit_stores_nothing(tmp_path: Path, limit: int) -> None:
    space = open_store(tmp_path / "store").space(fake_space(64))
    texts = sentences(200)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        assert_failed_whole(space, texts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    put_texts(space, texts)
    np.testing.assert_array_equal(space.read(text_keys(texts)), fake_features(texts, 64))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_put_on_a_full_disk_stores_nothing_and_succeeds_when_there_is_room(small_disk: Path) -> None:
    space = open_store(small_disk / "store").space(fake_space(64))
    texts = sentences(1000)
    room = small_disk / "filler"
    room.write_bytes(bytes(150_000))
    assert_failed_whole(space, texts)
    with pytest.raises(CannotWrite, match="No space left on device"):
        put_texts(space, texts)
    room.unlink()
    put_texts(space, texts)
    np.testing.assert_array_equal(space.read(text_keys(texts)), fake_features(texts, 64))


def test_a_full_disk_does_not_stop_readers_that_would_write_an_index(small_disk: Path) -> None:
    space = open_store(small_disk / "store").space(fake_space(8))
    for start in range(0, 100, 10):
        put_texts(space, sentences(10, start))
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(bytes(4096))
    reader = Space(space.path)
    np.testing.assert_array_equal(reader.read(text_keys(sentences(100))), fake_features(sentences(100)))
    assert not list(space.path.rglob("*.partial"))
