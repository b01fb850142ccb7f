"""An encoder that hashes texts, for trying the queue and the store without torch and without a model, at any speed.

Its name is ``hash:DIM``, such as ``hash:64`` for 64 columns. Equal texts get equal features and different texts
different ones, so that a row in the wrong place shows.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jdq.store.spaces.definition import FeatureSpace
from jdq.worker.encoder.errors import EncoderNotFound

PREFIX = "hash:"
DIM = re.compile(r"[1-9][0-9]{0,3}")
BATCH_TEXTS = 64
MAX_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class HashedTexts:
    """Texts whose tokens are their bytes."""

    texts: Sequence[str]
    n_tokens: np.ndarray  # (n,) uint32, before truncation

    @property
    def n_unknown(self) -> np.ndarray:
        """(n,) uint32: none."""
        return np.zeros_like(self.n_tokens)


class HashEncoder:
    """Features (n, dim) float32 with whole numbers from 0 to 255, from a digest of the text; `space` defines them."""

    path = "hash"

    def __init__(self, name: str, *, max_length: int | None) -> None:
        dim = name.removeprefix(PREFIX)
        if not DIM.fullmatch(dim):
            raise EncoderNotFound(f"no encoder {name!r}: {PREFIX} takes a number of columns\n  try: hash:64")
        self.dim = int(dim)
        self.max_length = max_length or MAX_LENGTH

    def space(self, storage_dtype: str = "float16") -> FeatureSpace:
        """The feature space of what `encode` returns, once it is stored as this type."""
        return FeatureSpace(
            architecture="hash",
            weights="0" * 32,
            tokenizer="0" * 32,
            pooling="cls",
            max_length=self.max_length,
            cutting="right",
            storage_dtype=storage_dtype,  # type: ignore[arg-type]
            precision="float32",
            dim=self.dim,
            definition=1,
        )

    def tokenize(self, texts: Sequence[str]) -> HashedTexts:
        """Counts the bytes."""
        return HashedTexts(texts, np.array([len(text.encode()) for text in texts], dtype=np.uint32))

    def encode(self, tokens: HashedTexts, *, after_batch: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Hashes each text; `after_batch(texts, tokens)` is called after every batch and may raise to stop."""
        rows = np.empty((len(tokens.texts), self.dim), dtype=np.float32)
        for start in range(0, len(rows), BATCH_TEXTS):
            texts = tokens.texts[start : start + BATCH_TEXTS]
            rows[start : start + len(texts)] = [hashed_feature(text, self.dim) for text in texts]
            if after_batch:
                after_batch(len(texts), int(tokens.n_tokens[start : start + BATCH_TEXTS].sum()))
        return rows


def hashed_feature(text: str, dim: int) -> np.ndarray:
    """(dim,) float32: the bytes of SHAKE-128 of the text."""
    return np.frombuffer(hashlib.shake_128(text.encode()).digest(dim), dtype=np.uint8).astype(np.float32)
