"""An encoder that hashes: for trying the queue and the store without torch, without a model, at any speed.

Its name is ``hash:DIM`` or ``hash:DIM:SECONDS``, e.g. ``hash:64:0.01``: 64 columns, 10 ms a text. Equal texts get
equal features and different texts different ones, so that a row in the wrong place shows. Faults on demand:
``hash:64:0:nan=WORD`` has no finite feature for texts with this word, ``hash:64:0:kill=WORD`` kills its process there.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jdq.store.spaces.definition import FeatureSpace
from jdq.worker.encoder.errors import EncoderNotFound, NotFiniteFeatures

PREFIX = "hash:"
BATCH_TEXTS = 64
MAX_LENGTH = 1024
# Time passes in slices, so that an encoder slower than a beat still hears when to stop.
SLICE_S = 0.2


@dataclass(frozen=True, slots=True)
class HashedTexts:
    """Texts whose tokens are their bytes."""

    texts: Sequence[str]
    n_tokens: np.ndarray  # (n,) uint32, before cutting

    @property
    def n_unknown(self) -> np.ndarray:
        """(n,) uint32: none."""
        return np.zeros_like(self.n_tokens)


class HashEncoder:
    """Features (n, dim) float32 of integers from 0 to 255, from a digest of the text; `space` tells what they are."""

    path = "hash"

    def __init__(self, name: str, *, max_length: int | None) -> None:
        parts = name.removeprefix(PREFIX).split(":")
        self._faults = dict(part.split("=", 1) for part in parts if "=" in part)
        try:
            numbers = [part for part in parts if "=" not in part]
            self.dim = int(numbers[0])
            self._text_s = float(numbers[1]) if len(numbers) > 1 else 0.0
        except (ValueError, IndexError):
            raise EncoderNotFound(f"no encoder {name!r}\n  try: hash:64, or hash:64:0.01 for 10 ms a text") from None
        self.max_length = max_length or MAX_LENGTH

    def space(self, storage_dtype: str = "float16") -> FeatureSpace:
        """The feature space; how long a text takes is no part of it."""
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
        """Hashes each text; calls `after_batch(texts, tokens)` now and then, which may raise to stop."""
        rows = np.empty((len(tokens.texts), self.dim), dtype=np.float32)
        batch = max(1, min(BATCH_TEXTS, int(SLICE_S / self._text_s) if self._text_s else BATCH_TEXTS))
        for start in range(0, len(rows), batch):
            texts = tokens.texts[start : start + batch]
            for row, text in enumerate(texts, start):
                rows[row] = self._feature(text)
            time.sleep(self._text_s * len(texts))
            if after_batch:
                after_batch(len(texts), int(tokens.n_tokens[start : start + batch].sum()))
        if len(bad := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
            raise NotFiniteFeatures(bad.tolist(), "float32")
        return rows

    def _feature(self, text: str) -> np.ndarray:
        if (word := self._faults.get("kill")) and word in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if (word := self._faults.get("nan")) and word in text:
            return np.full(self.dim, np.nan, dtype=np.float32)
        return hashed_feature(text, self.dim)


def hashed_feature(text: str, dim: int) -> np.ndarray:
    """(dim,) float32: the bytes of SHAKE-128 of the text."""
    return np.frombuffer(hashlib.shake_128(text.encode()).digest(dim), dtype=np.uint8).astype(np.float32)
