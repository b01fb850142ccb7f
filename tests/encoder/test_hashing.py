"""The encoder that hashes: known numbers, known space, and a refusal of names that it does not have."""

import hashlib

import numpy as np
import pytest

from jdq.worker.encoder.errors import EncoderNotFound
from jdq.worker.encoder.hashing import BATCH_TEXTS, HashEncoder


def test_a_feature_is_the_digest_of_its_text() -> None:
    encoder = HashEncoder("hash:5", max_length=None)
    texts = ["", "Łódź", "a" * 5_000]
    features = encoder.encode(encoder.tokenize(texts))
    assert features.dtype == np.float32
    assert [row.astype(np.uint8).tobytes() for row in features] == [
        hashlib.shake_128(text.encode()).digest(5) for text in texts
    ]


def test_tokens_are_bytes_and_none_is_unknown() -> None:
    tokens = HashEncoder("hash:5", max_length=None).tokenize(["", "Łódź", "ab"])
    assert tokens.n_tokens.tolist() == [0, 7, 2]
    assert tokens.n_tokens.dtype == np.uint32
    assert tokens.n_unknown.tolist() == [0, 0, 0]


def test_every_batch_is_reported_with_its_texts_and_tokens() -> None:
    encoder = HashEncoder("hash:1", max_length=None)
    reported: list[tuple[int, int]] = []
    texts = ["ab"] * BATCH_TEXTS + ["abc"] * 3
    features = encoder.encode(encoder.tokenize(texts), after_batch=lambda *pass_: reported.append(pass_))
    assert reported == [(64, 128), (3, 9)]
    assert len(set(features[:, 0])) == 2


def test_the_space_is_that_of_existing_stores() -> None:
    """Shards are in folders named by this digest."""
    space = HashEncoder("hash:64", max_length=None).space()
    assert space.digest == HashEncoder("hash:64", max_length=1024).space("float16").digest
    assert space.digest == "d312a03997625eb3d9a55685c78d4fc8"
    others = [
        HashEncoder("hash:63", max_length=None).space(),
        HashEncoder("hash:64", max_length=12).space(),
        HashEncoder("hash:64", max_length=None).space("float32"),
    ]
    assert len({space.digest, *(other.digest for other in others)}) == 4


@pytest.mark.parametrize("name", ["hash:", "hash:0", "hash:12345", "hash:8x", "hash:-8"])
def test_a_name_without_a_number_of_columns_is_refused(name: str) -> None:
    with pytest.raises(EncoderNotFound) as refused:
        HashEncoder(name, max_length=None)
    assert str(refused.value) == f"no encoder {name!r}: hash: takes a number of columns\n  try: hash:64"
