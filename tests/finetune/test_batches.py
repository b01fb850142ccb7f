import numpy as np
import torch

from jdq.worker.encoder.tokens import Tokens
from jdq.worker.finetune.batches import ByLength, Collate, TokenRows, padded


def some_lengths(rows: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).integers(5, 500, rows)


def test_every_row_comes_once_an_epoch_and_epochs_differ() -> None:
    order = ByLength(some_lengths(), 16, seed=3)
    first = list(order)
    assert sorted(first) == list(range(1000)) and len(order) == 1000
    assert list(order) == first
    order.epoch = 1
    assert list(order) != first and sorted(order) == list(range(1000))
    assert list(ByLength(some_lengths(), 16, seed=3)) == first != list(ByLength(some_lengths(), 16, seed=4))


def test_batches_by_length_hold_a_tenth_of_the_padding_of_random_ones() -> None:
    lengths = some_lengths(1600)

    def padding(order: list[int]) -> int:
        batches = [lengths[order[i : i + 16]] for i in range(0, len(order), 16)]
        return int(sum((batch.max() - batch).sum() for batch in batches))

    shuffled = np.random.default_rng(0).permutation(1600).tolist()
    assert padding(list(ByLength(lengths, 16, seed=0))) < 0.1 * padding(shuffled)


def test_batches_of_any_size_are_cut_at_the_right_places() -> None:
    """The full batches come first, so that every 7 rows are a batch as it was made."""
    lengths = np.sort(some_lengths(100))
    order = list(ByLength(lengths, 7, seed=0))
    spreads = [np.ptp(order[i : i + 7]) for i in range(0, 98, 7)]
    assert max(spreads) == 6


def test_rows_are_cut_out_of_the_flat_ids_and_padded_on_the_right() -> None:
    tokens = Tokens(
        ids=np.arange(10, dtype=np.int32),
        lengths=np.array([2, 5, 3]),
        n_tokens=np.array([2, 5, 3], dtype=np.uint32),
        n_unknown=np.zeros(3, dtype=np.uint32),
    )
    rows = TokenRows(tokens, np.array([7, 8, 9]), np.array([2, 0]))
    batch = Collate(1)([rows[0], rows[1]])
    assert batch["input_ids"].tolist() == [[7, 8, 9], [0, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [9, 7] and batch["labels"].dtype == torch.int64
    assert padded([np.array([3], dtype=np.int32)], 1)[0].shape == (1, 1)
