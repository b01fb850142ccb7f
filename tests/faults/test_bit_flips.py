"""Flipped bits and truncated files: none is read silently."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np

from jdq.store import open_store
from jdq.store.errors import DamagedShard, MissingFeatures
from jdq.store.keys import text_keys
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.feature_space import Space
from tests.store.fake_features import fake_features, fake_lengths, fake_space, put_texts, sentences

ROUNDS = int(os.environ.get("JDQ_FAULT_ROUNDS", "200"))
TEXTS = sentences(300)


def test_no_flipped_bit_and_no_cut_is_read_silently(tmp_path: Path) -> None:
    random_ = random.Random(20)
    store = open_store(tmp_path / "store")
    space = store.space(fake_space())
    path = space.shard_path(put_texts(space, TEXTS))
    sound = path.read_bytes()
    noticed = harmless = 0
    for round_ in range(ROUNDS):
        damaged = bytearray(sound)
        if round_ % 4 == 3:
            del damaged[random_.randrange(len(sound)) :]
        else:
            damaged[random_.randrange(len(sound))] ^= 1 << random_.randrange(8)
        path.write_bytes(damaged)
        reader = Space(space.path)
        try:
            features, lengths = reader.read(text_keys(TEXTS)), reader.n_tokens(text_keys(TEXTS))
        except (DamagedShard, MissingFeatures):
            noticed += 1
            assert not verify(store).sound
            continue
        # A bit that belongs to no array and no attribute: the gaps between them.
        harmless += 1
        np.testing.assert_array_equal(features, fake_features(TEXTS))
        np.testing.assert_array_equal(lengths, fake_lengths(TEXTS))
    assert noticed + harmless == ROUNDS
    assert noticed > ROUNDS / 2


def test_a_process_that_has_the_shard_open_notices_that_it_was_written_to(tmp_path: Path) -> None:
    space = open_store(tmp_path / "store").space(fake_space())
    path = space.shard_path(put_texts(space, TEXTS))
    space.read(text_keys(TEXTS))
    with path.open("r+b") as file:
        file.seek(4096 + 11)
        file.write(b"\x55")
    try:
        np.testing.assert_array_equal(space.read(text_keys(TEXTS)), fake_features(TEXTS))
    except (DamagedShard, MissingFeatures):
        return
    raise AssertionError("the damage was read")
