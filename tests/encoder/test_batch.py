"""Batches: longest texts first, packed one after another, within the budget and the kernels' limits."""

import numpy as np

from jdq.worker.encoder.batch import MOST_TEXTS, count_within, longest_first, pack
from tests.encoder.conftest import random_tokens


def test_batches_go_longest_first_and_each_text_restarts_its_positions() -> None:
    tokens = random_tokens([3, 9, 1, 4])
    order = longest_first(tokens)
    assert order.tolist() == [1, 3, 0, 2]
    assert count_within(tokens.lengths[order], 13, padded=False) == 2
    assert count_within(tokens.lengths[order], 13, padded=True) == 1
    assert count_within(tokens.lengths[order], 1, padded=False) == 1
    batch = pack(tokens, order[1:])
    assert batch.positions.tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    assert batch.cu_seqlens.tolist() == [0, 4, 7, 8]
    assert batch.ids.tolist() == [*tokens.ids[13:17], *tokens.ids[0:3], *tokens.ids[12:13]]


def test_a_pass_takes_no_more_texts_than_a_kernel_does() -> None:
    lengths = np.ones(70_000, dtype=np.int64)
    assert count_within(lengths, 100_000, padded=False) == MOST_TEXTS == 65_535
    assert count_within(lengths, 100_000, padded=True) == MOST_TEXTS
