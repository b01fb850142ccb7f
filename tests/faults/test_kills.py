"""`kill -9` at random moments among racing writers: nothing acknowledged is lost, nothing is wrong."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jdq.store import open_store
from jdq.store.keys import text_keys
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.feature_space import Space
from tests.faults.forked import fork
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences

ROUNDS = int(os.environ.get("JDQ_FAULT_ROUNDS", "200"))
CHUNK_ROWS = 64
DIM = 64


def chunk(number: int) -> list[str]:
    return sentences(CHUNK_ROWS, start=number * CHUNK_ROWS)


def writer(space: Path, first: int) -> Callable[[Callable[[int], None]], None]:
    def work(acknowledge: Callable[[int], None]) -> None:
        mine = Space(space)
        for number in range(first, first + 10_000):
            put_texts(mine, chunk(number))
            acknowledge(number)

    return work


def test_nothing_acknowledged_is_lost_and_nothing_is_wrong_after_kills(tmp_path: Path) -> None:
    random_ = random.Random(9)
    store = open_store(tmp_path / "store")
    space = store.space(fake_space(DIM))
    acknowledged: set[int] = set()
    for round_ in range(ROUNDS // 2):
        # Both begin at the same chunk, so they race for each name.
        pair = [fork(writer(space.path, round_ * 2)) for _ in range(2)]
        time.sleep(random_.uniform(0.002, 0.03))
        for child in pair:
            acknowledged.update(child.kill())
    assert acknowledged
    # Everything that is visible is complete; everything acknowledged is visible and right.
    assert verify(store).sound
    texts = [text for number in sorted(acknowledged) for text in chunk(number)]
    np.testing.assert_array_equal(Space(space.path).read(text_keys(texts)), fake_features(texts, DIM))
    # What was not acknowledged is put again: each row is there once.
    last = max(acknowledged) + 3
    for number in range(last):
        put_texts(space, chunk(number))
    rows = [shard.header.rows for shard in map(space.open_shard, space.shard_names())]
    assert sum(rows) == space.count()
    assert not space.missing(text_keys(sentences(last * CHUNK_ROWS))).any()
    # The dead left partial files; gc takes them.
    for partial in tmp_path.rglob("*.partial"):
        os.utime(partial, (time.time() - 700,) * 2)
    collect_garbage(store, grace_s=0)
    assert not list(tmp_path.rglob("*.partial"))
    assert verify(store).sound


def test_writers_of_one_shard_that_race_to_the_end_make_one(tmp_path: Path) -> None:
    space = open_store(tmp_path / "store").space(fake_space(DIM))

    def work(acknowledge: Callable[[int], None]) -> None:
        for number in range(20):
            put_texts(Space(space.path), chunk(number))
            acknowledge(number)

    children = [fork(work) for _ in range(4)]
    assert [child.join() for child in children] == [list(range(20))] * 4
    assert len(space.shard_names()) == 20
    np.testing.assert_array_equal(space.read(text_keys(chunk(7))), fake_features(chunk(7), DIM))
