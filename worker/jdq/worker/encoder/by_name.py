"""Encoders by name; loaded encoders are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jdq.store.spaces.definition import FeatureSpace
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.hashing import PREFIX, HashEncoder
from jdq.worker.encoder.options import AUTO, CLS, FAST
from jdq.worker.encoder.pooling import ChosenPoolings, choose_poolings

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
        """Columns of one pooling's feature."""

    @property
    def path(self) -> str:
        """Which code computes: "packed", "plain" or "hash"."""

    def space(self, storage_dtype: str) -> FeatureSpace:
        """The feature space of the first pooling's features, once they are stored as this type."""

    def tokenize(self, texts: Sequence[str]) -> Any:
        """The texts as tokens; safe in any thread, touches no device."""

    def encode(self, tokens: Any, *, after_batch: Callable[[int, int], None] | None = None) -> np.ndarray:
        """(n, poolings x dim) float32, in order, the poolings side by side.

        after_batch(texts, tokens), called after each pass, may raise to stop.
        """


def poolings_of(name: str, requested: Sequence[str]) -> ChosenPoolings:
    """The poolings of a job with this encoder, and why. Raises EncoderError."""
    if name.startswith(PREFIX):
        if set(requested) - {AUTO, CLS}:
            raise UnsupportedEncoder(f"{name} has no tokens to average\n  try: --pooling cls")
        return ChosenPoolings(names=(CLS,), reason="this encoder's only pooling")
    from jdq.worker.encoder.folder import find_folder

    return choose_poolings(find_folder(name), requested)


def space_of(name: str, *, max_length: int | None, precision: str, storage_dtype: str, pooling: str) -> FeatureSpace:
    """The feature space of an encoder, without loading it onto a device. Raises EncoderError."""
    if name.startswith(PREFIX):
        return HashEncoder(name, max_length=max_length).space(storage_dtype)
    from jdq.worker.encoder.identity import describe

    return describe(name, max_length=max_length, precision=precision, storage_dtype=storage_dtype, pooling=pooling)


def precision_of(requested: str, name: str, device: str, poolings: Sequence[str], automatic: Callable[[], str]) -> str:
    """The precision that an encoder gets; `automatic` decides what "auto" means. "fast" loads the encoder."""
    if requested == AUTO:
        return automatic()
    return fastest_precision(name, device, poolings) if requested == FAST else requested


def fastest_precision(name: str, device: str, poolings: Sequence[str]) -> str:
    """The fastest precision on this device that keeps this encoder's features close to float32's. Loads the encoder."""
    if name.startswith(PREFIX):
        return "float32"
    from jdq.worker.encoder.folder import find_folder
    from jdq.worker.encoder.identity import read_files
    from jdq.worker.encoder.loading import fastest_precision as fastest

    return fastest(read_files(find_folder(name), max_length=None, precision="float32", poolings=poolings), device)


def load(
    name: str, *, max_length: int | None, precision: str, device: str, poolings: Sequence[str] = (AUTO,)
) -> FeatureEncoder:
    """The encoder, from memory if this process has already loaded it. Raises EncoderError."""
    if name.startswith(PREFIX):
        return HashEncoder(name, max_length=max_length)
    return _loaded().get(name, max_length=max_length, precision=precision, device=device, poolings=poolings)


@cache
def _loaded() -> EncoderCache:
    from jdq.worker.encoder.cache import EncoderCache

    return EncoderCache()
