"""Text keys: how the store identifies a text, whatever file or job it came from."""

import functools
import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

KEY_BYTES = 16
_hash = functools.partial(hashlib.blake2b, digest_size=KEY_BYTES)

Keys = npt.NDArray[np.uint8]


def text_key(text: str) -> bytes:
    """blake2b-128 of the text's exact UTF-8 bytes. Cryptographic, so that nobody can craft two texts with one key."""
    return _hash(text.encode()).digest()


def text_keys(texts: Iterable[str]) -> Keys:
    """The key of each text, in order: shape (n, 16), uint8."""
    return np.frombuffer(keys_of_bytes(map(str.encode, texts)), dtype=np.uint8).reshape(-1, KEY_BYTES)


def keys_of_bytes(texts: Iterable[bytes]) -> bytes:
    """The keys of texts that are already in UTF-8, one after another."""
    # Mapped, without Python code per text: of an import this is the largest part.
    return b"".join(map(hashlib.blake2b.digest, map(_hash, texts)))


def checked_keys(keys: npt.ArrayLike) -> Keys:
    """`keys` as a contiguous (n, 16) uint8 array; ValueError for another shape or type."""
    array = np.asarray(keys)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != KEY_BYTES:
        raise ValueError(f"text keys are a (n, {KEY_BYTES}) array of uint8, not {array.shape} of {array.dtype}")
    return np.ascontiguousarray(array)


def halves(keys: Keys) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The high and the low 64 bits of each key, as numbers that sort as the keys' bytes do."""
    numbers = keys.view(">u8").astype(np.uint64)
    return numbers[:, 0], numbers[:, 1]


def repeats(keys: Keys) -> npt.NDArray[np.bool_]:
    """(n,) bool: True where an earlier row has the same key."""
    high, low = halves(keys)
    ordered = np.sort(high)
    # Sorting whole keys takes over ten times as long, and most occur only once.
    suspects = np.flatnonzero(np.isin(high, ordered[1:][ordered[1:] == ordered[:-1]]))
    # Stable, so that the first of equal keys comes first.
    order = suspects[np.lexsort((low[suspects], high[suspects]))]
    repeated = np.zeros(len(keys), dtype=bool)
    repeated[order[1:]] = (np.diff(high[order]) == 0) & (np.diff(low[order]) == 0)
    return repeated


def places_by_owner(owners: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Each distinct number in `owners`, ascending, with its positions; of negative ones nothing."""
    order = np.argsort(owners, kind="stable")
    numbers, starts = np.unique(owners[order], return_index=True)
    for number, places in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
        if number >= 0:
            yield number, places
