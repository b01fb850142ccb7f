"""Text keys: digests of exact bytes, and which of them repeat."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from jdq.store.keys import KEY_BYTES, checked_keys, halves, repeats, text_key, text_keys


def test_a_key_is_the_digest_of_the_texts_exact_bytes() -> None:
    assert text_key("é ") == hashlib.blake2b(b"\xc3\xa9 ", digest_size=16).digest()
    assert text_keys(["a", "é "])[1].tobytes() == text_key("é ")
    assert text_keys([]).shape == (0, KEY_BYTES)


def test_only_later_rows_of_an_equal_key_repeat() -> None:
    assert repeats(text_keys(["b", "a", "b", "c", "a", "b"])).tolist() == [False, False, True, False, True, True]
    assert repeats(text_keys([])).tolist() == []


def test_keys_that_share_one_half_do_not_repeat() -> None:
    keys = np.zeros((3, KEY_BYTES), dtype=np.uint8)
    keys[1, 0] = keys[2, -1] = 1
    assert not repeats(keys).any()


def test_halves_sort_as_the_keys_bytes_do() -> None:
    keys = text_keys(map(str, range(200)))
    high, low = halves(keys)
    by_bytes = sorted(range(200), key=lambda row: keys[row].tobytes())
    assert np.lexsort((low, high)).tolist() == by_bytes


@pytest.mark.parametrize("keys", [np.zeros((2, 15), np.uint8), np.zeros((2, 16), np.int8), np.zeros(16, np.uint8)])
def test_an_array_of_another_shape_or_type_is_refused(keys: np.ndarray) -> None:
    with pytest.raises(ValueError, match="text keys are a"):
        checked_keys(keys)
