"""From an encoder's name to an encoder; loaded ones are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jdq.store.spaces.definition import FeatureSpace
from jdq.worker.encoder.hashing import PREFIX, HashEncoder

if TYPE_CHECKING:
    from jdq.worker.encoder.cache import EncoderCache


class TokenizedTexts(Protocol):
    """Texts as an encoder takes them."""

    @property
    def n_tokens(self) -> np.ndarray:
        """(n,) uint32: tokens of each text before truncation."""

    @property
    def n_unknown(self) -> np.ndarray:
        """(n,) uint32: tokens among them that the vocabulary does not know."""


class FeatureEncoder(Protocol):
    """What computes features: BART's packed encoder, any AutoModel's, or the hashing one."""

    @property
    def dim(self) -> int:
        """Columns of a feature."""

    @property
    def path(self) -> str:
        """Which code computes: "packed", "plain" or "hash"."""

    def space(self, storage_dtype: str) -> FeatureSpace:
        """The feature space of what `encode` returns, once it is stored as this type."""

    def tokenize(self, texts: Sequence[str]) -> Any:
        """The texts as tokens; safe in any thread, touches no device."""

    def encode(self, tokens: Any, *, after_batch: Callable[[int, int], None] | None = None) -> np.ndarray:
        """(n, dim) float32, in order. after_batch(texts, tokens), called after each pass, may raise to stop."""


def space_of(name: str, *, max_length: int | None, precision: str, storage_dtype: str) -> FeatureSpace:
    """The feature space of an encoder, without loading it onto a device. Raises EncoderError."""
    if name.startswith(PREFIX):
        return HashEncoder(name, max_length=max_length).space(storage_dtype)
    from jdq.worker.encoder.identity import describe

    return describe(name, max_length=max_length, precision=precision, storage_dtype=storage_dtype)


def load(name: str, *, max_length: int | None, precision: str, device: str) -> FeatureEncoder:
    """The encoder, from memory if this process has loaded it already. Raises EncoderError."""
    if name.startswith(PREFIX):
        return HashEncoder(name, max_length=max_length)
    return _loaded().get(name, max_length=max_length, precision=precision, device=device)


@cache
def _loaded() -> EncoderCache:
    from jdq.worker.encoder.cache import EncoderCache

    return EncoderCache()
