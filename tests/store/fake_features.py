"""An encoder without a network: each text's feature is a hash of it, so that a mistake in the order shows."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.store.keys import text_keys
from jdq.store.spaces.definition import FeatureSpace
from jdq.store.spaces.feature_space import Space

PRODUCER = {"jdq": "0.1.0", "device": "fake"}


def fake_space(dim: int = 8, **changes: Any) -> FeatureSpace:
    """A feature space of the fake encoder."""
    fields: dict[str, Any] = {
        "architecture": "fake-encoder",
        "weights": "0" * 32,
        "tokenizer": "1" * 32,
        "pooling": "cls",
        "max_length": 1024,
        "cutting": "right",
        "storage_dtype": "float16",
        "precision": "float32",
        "dim": dim,
        "definition": 1,
    }
    return FeatureSpace(**(fields | changes))


def fake_features(texts: Sequence[str], dim: int = 8) -> npt.NDArray[np.float16]:
    """(n, dim): whole numbers below 2,048, which both storage dtypes hold exactly."""
    digests = [hashlib.shake_128(text.encode()).digest(2 * dim) for text in texts]
    numbers = np.frombuffer(b"".join(digests), dtype="<u2").reshape(len(texts), dim) % 2048
    return numbers.astype(np.float16)


def fake_lengths(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """(n,): the characters of each text stand for its tokens."""
    return np.array([len(text) for text in texts], dtype=np.uint32)


def put_texts(space: Space, texts: Sequence[str]) -> str:
    """Put the fake features of these texts as one shard; its name."""
    features = fake_features(texts, space.definition.dim)
    return space.put(text_keys(texts), features, fake_lengths(texts), producer=PRODUCER)


def sentences(count: int, start: int = 0) -> list[str]:
    """Texts that all differ."""
    return [f"sentence number {number}" for number in range(start, start + count)]
