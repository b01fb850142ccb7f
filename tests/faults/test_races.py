"""Any two of put, read, compact, gc and verify concurrently, and a copy of the store at any moment."""

import itertools
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.keys import text_keys
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.compact import compact
from jdq.store.spaces.feature_space import Space
from jdq.store.store import Store
from tests.faults.forked import fork
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences

SECONDS = float(os.environ.get("JDQ_RACE_SECONDS", "0.4"))
STANDING = 500
CHUNK_ROWS = 20

Work = Callable[[Store, Space, int], None]


def putting(_: Store, space: Space, turn: int) -> None:
    put_texts(space, sentences(CHUNK_ROWS, start=STANDING + turn * CHUNK_ROWS))


def reading(_: Store, space: Space, turn: int) -> None:
    texts = sentences(STANDING)
    random.Random(turn).shuffle(texts)
    np.testing.assert_array_equal(space.read(text_keys(texts)), fake_features(texts))
    assert not Space(space.path).missing(text_keys(texts)).any()


def compacting(_: Store, space: Space, turn: int) -> None:
    compact(space, order=[text_keys(sentences(STANDING))], target_bytes=(4000, 10_000, 1 << 27)[turn % 3])


def collecting(store: Store, _: Space, turn: int) -> None:
    collect_garbage(store, grace_s=0 if turn % 2 else 3600)


def verifying(store: Store, _: Space, turn: int) -> None:
    assert verify(store, repair=bool(turn % 2)).findings == []


WORK: dict[str, Work] = {work.__name__: work for work in (putting, reading, compacting, collecting, verifying)}
PAIRS = list(itertools.combinations_with_replacement(WORK, 2))


@pytest.mark.parametrize("pair", PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_two_processes_at_once_lose_nothing(pair: tuple[str, str], tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    space = store.space(fake_space())
    for start in range(0, STANDING, CHUNK_ROWS):
        put_texts(space, sentences(CHUNK_ROWS, start))
    children = [fork(repeat(store.root, WORK[name])) for name in pair]
    turns = [child.join() for child in children]
    put = [max(said, default=-1) + 1 for said, name in zip(turns, pair, strict=True) if name == "putting"]
    texts = sentences(STANDING + max(put, default=0) * CHUNK_ROWS)
    np.testing.assert_array_equal(Space(space.path).read(text_keys(texts)), fake_features(texts))
    assert verify(store).sound
    compact(space)
    collect_garbage(store, grace_s=0)
    assert sum(shard.header.rows for shard in map(space.open_shard, space.shard_names())) == space.count() == len(texts)


def repeat(root: Path, work: Work) -> Callable[[Callable[[int], None]], None]:
    def run(acknowledge: Callable[[int], None]) -> None:
        store = open_store(root)
        space = store.space(fake_space())
        end = time.monotonic() + SECONDS
        for turn in itertools.count():
            if time.monotonic() > end:
                return
            work(store, space, turn)
            acknowledge(turn)

    return run


@pytest.mark.parametrize("program", ["cp", "rsync"])
def test_a_copy_of_a_store_in_use_is_sound(program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    store = open_store(tmp_path / "store")
    space = store.space(fake_space())
    for start in range(0, STANDING, CHUNK_ROWS):
        put_texts(space, sentences(CHUNK_ROWS, start))
    busy = [fork(repeat(store.root, work)) for work in (putting, compacting)]
    for number in range(4):
        copy = tmp_path / f"copy{number}"
        # A partial file may vanish under cp: it says so, and goes on.
        subprocess.run([program, "-r", f"{store.root}/", copy], capture_output=True)
        copied = open_store(copy)
        assert verify(copied).findings == []
        np.testing.assert_array_equal(
            copied.open_space(space.digest).read(text_keys(sentences(STANDING))), fake_features(sentences(STANDING))
        )
    for child in busy:
        child.join()
