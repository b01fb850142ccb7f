"""Stored splits: each comes back with all its fields, and a damaged one is refused."""

import json

import numpy as np
import numpy.typing as npt
import pytest

from jdq.store.datasets.records import split_digest
from jdq.worker.heads.errors import BadSplit
from jdq.worker.heads.split import (
    TEST,
    Split,
    make_split,
)
from tests.heads.split_keys import keys_of


def test_a_stored_split_comes_back_and_a_damaged_one_is_refused() -> None:
    split = make_split(["a", "b"] * 50, keys_of(list(range(100))))
    again = Split.from_json(split.parts, split.to_json())
    assert again.digest == split.digest and again.counts() == split.counts()
    assert sum(split.counts().values()) == 100 and split.counts()["test"] == len(split.rows(TEST))
    altered = split.parts.copy()
    altered[0] = (altered[0] + 1) % 3
    with pytest.raises(BadSplit, match="damaged"):
        Split.from_json(altered, split.to_json())


def test_every_field_of_a_stored_split_comes_back() -> None:
    labels = ["a"] * 20 + ["b"] * 20 + ["rare"]
    split = make_split(labels, keys_of(list(range(41))), seed=3, test=0.25, validation=0.15)
    stored = json.loads(json.dumps(split.to_json()))
    assert stored == {
        "seed": 3,
        "test": 0.25,
        "validation": 0.15,
        "distinct_texts": 41,
        "warnings": ["1 class not in the test part, for lack of distinct texts: 'rare'"],
        "digest": split_digest(split.parts),
        "counts": {name: int((split.parts == part).sum()) for part, name in enumerate(("train", "validation", "test"))},
    }
    again = Split.from_json(split.parts.tolist(), stored)
    assert again.to_json() == split.to_json() and again.warnings == split.warnings
    assert again.parts.dtype == np.uint8 and again.parts.tolist() == split.parts.tolist()
    assert again.rows(TEST).tolist() == np.flatnonzero(split.parts == 2).tolist()


@pytest.mark.parametrize("parts", [np.array([0, 3], dtype=np.uint8), np.zeros((2, 1), dtype=np.uint8)])
def test_parts_that_no_split_has_are_refused_even_with_their_digest(parts: npt.NDArray[np.uint8]) -> None:
    fields = make_split(["a", "b"] * 50, keys_of(list(range(100)))).to_json()
    digest = split_digest(parts)
    with pytest.raises(BadSplit) as caught:
        Split.from_json(parts, fields | {"digest": digest})
    assert str(caught.value) == f"the stored split is damaged: its digest is {digest}, not {digest}"
    with pytest.raises(BadSplit, match=f"its digest is {split_digest(parts[:0])}, not {digest}"):
        Split.from_json(parts[:0], fields | {"digest": digest})
