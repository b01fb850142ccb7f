"""Arrays of text keys: which rows repeat, and what is no such array."""

import numpy as np
import pytest

from jdq.store.keys import KEY_BYTES, checked_keys, repeats, text_keys


def test_only_later_rows_of_an_equal_key_repeat() -> None:
    assert repeats(text_keys(["b", "a", "b", "c", "a", "b"])).tolist() == [False, False, True, False, True, True]
    assert repeats(text_keys([])).tolist() == []


def test_keys_that_share_one_half_do_not_repeat() -> None:
    keys = np.zeros((3, KEY_BYTES), dtype=np.uint8)
    keys[1, 0] = keys[2, -1] = 1
    assert not repeats(keys).any()


@pytest.mark.parametrize("keys", [np.zeros((2, 15), np.uint8), np.zeros((2, 16), np.int8), np.zeros(16, np.uint8)])
def test_an_array_of_another_shape_or_type_is_refused(keys: np.ndarray) -> None:
    with pytest.raises(ValueError, match="text keys are a"):
        checked_keys(keys)
