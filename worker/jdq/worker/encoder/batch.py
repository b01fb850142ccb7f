"""Batches of texts for one forward pass each: longest first, as many as the token budget allows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jdq.worker.encoder.tokens import Tokens

MOST_TEXTS = 65_535  # a dimension of a CUDA grid: attention kernels have one block per text there


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some texts of a `Tokens`, packed one after another without padding.

    `indices` (texts,) are their positions in the `Tokens`; `ids` and `positions` (tokens,) int64 are each token's id
    and its place in its text; `cu_seqlens` (texts + 1,) int32 the first row of each text, and the end.
    """

    indices: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    cu_seqlens: npt.NDArray[np.int32]


def longest_first(tokens: Tokens) -> npt.NDArray[np.int64]:
    """Positions of the texts, longest first: a batch that does not fit into memory then fails in the first second."""
    return np.argsort(-tokens.lengths, kind="stable")


def count_within(lengths: npt.NDArray[np.int64], budget: int, *, padded: bool) -> int:
    """How many of the next texts, longest first, fit in a forward pass of `budget` tokens: 1 to MOST_TEXTS.

    A padded batch costs its longest text's length for every text.
    """
    if padded:
        return max(1, min(MOST_TEXTS, budget // max(1, int(lengths[0]))))
    return max(1, min(MOST_TEXTS, int(np.searchsorted(np.cumsum(lengths), budget, side="right"))))


def pack(tokens: Tokens, indices: npt.NDArray[np.int64]) -> Batch:
    """The texts at `indices`, in that order."""
    starts = np.concatenate([[0], np.cumsum(tokens.lengths)])[indices]
    lengths = tokens.lengths[indices]
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(cu_seqlens[-1]) - np.repeat(cu_seqlens[:-1], lengths)
    return Batch(
        indices=indices,
        lengths=lengths,
        ids=tokens.ids[np.repeat(starts, lengths) + positions].astype(np.int64),
        positions=positions,
        cu_seqlens=cu_seqlens.astype(np.int32),
    )
