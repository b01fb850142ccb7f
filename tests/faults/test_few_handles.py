"""A process that may open 64 more files reads 200 shards."""

import resource
from pathlib import Path

import numpy as np

from jdq.store import open_store
from jdq.store.keys import text_keys
from jdq.store.spaces.feature_space import Space
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences


def test_two_hundred_shards_are_read_with_sixty_four_handles(tmp_path: Path) -> None:
    space = open_store(tmp_path / "store").space(fake_space())
    for start in range(0, 2000, 10):
        put_texts(space, sentences(10, start))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_already = 1 + max(int(file.name) for file in Path("/dev/fd").iterdir())  # by other tests in this process
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_already + 64, before[1]))
    try:
        reader = Space(space.path)
        rows = reader.rows(text_keys(sentences(2000)))
        np.testing.assert_array_equal(rows[:], fake_features(sentences(2000)))
        put_texts(reader, ["one more"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
