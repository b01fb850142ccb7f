"""An encoder in memory: texts to tokens to features, by forward passes that fit the machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from jdq.worker.encoder.batch import Batch, count_within, longest_first, pack
from jdq.worker.encoder.budget import TokenBudget, is_out_of_memory, release_memory
from jdq.worker.encoder.errors import NotFiniteFeatures, OutOfMemory, TokenizerMismatch
from jdq.worker.encoder.tokens import TextTokenizer, Tokens
from torch import Tensor

if TYPE_CHECKING:
    from jdq.store.space import FeatureSpace
    from jdq.worker.encoder.identity import Identity

AfterBatch = Callable[[int, int], None]


class Network(Protocol):
    """What makes the first states of a batch: the packed or the plain path."""

    padded: bool
    device: str
    size_bytes: int

    def first_states(self, batch: Batch) -> Tensor:
        """(texts, dim), on the device, in the order of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A loaded encoder. `tokenize` may run in other threads while `encode` runs; `encode` runs in one at a time.

    `path` says which implementation makes the features: "packed" or "plain".
    """

    identity: Identity
    path: str
    network: Network
    tokenizer: TextTokenizer
    budget: TokenBudget

    @property
    def dim(self) -> int:
        """Columns of a feature."""
        return self.identity.dim

    def space(self, storage_dtype: str) -> FeatureSpace:
        """The feature space of what `encode` returns, once stored as `storage_dtype`."""
        return self.identity.space(storage_dtype)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts, in order, cut to the encoder's limit."""
        return self.tokenizer.tokenize(texts, self.identity.max_length)

    def encode(self, tokens: Tokens, *, after_batch: AfterBatch | None = None) -> npt.NDArray[np.float32]:
        """One feature per text, in the order of `tokens`: (texts, dim) float32.

        `after_batch(texts, tokens)` is called after every forward pass with what that pass held; what it raises
        stops the encoding. Raises NotFiniteFeatures, and OutOfMemory where one text alone does not fit.
        """
        if not tokens.lengths.all():
            empty = int(np.flatnonzero(tokens.lengths == 0)[0])
            raise TokenizerMismatch(f"the tokenizer makes no token of the text at position {empty}")
        features = np.empty((len(tokens), self.dim), dtype=np.float32)
        passes: deque[tuple[Batch, Tensor]] = deque()
        order = longest_first(tokens)
        ahead = 1 if self.network.device != "cpu" else 0  # a GPU computes one pass while the last one is fetched
        while len(order):
            batch, states = self._next_pass(tokens, order)
            order = order[len(batch.members) :]
            passes.append((batch, states))
            if len(passes) > ahead:
                _collect(passes.popleft(), features, after_batch)
        while passes:
            _collect(passes.popleft(), features, after_batch)
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(bad):
            raise NotFiniteFeatures(bad.tolist(), self.identity.precision)
        return features

    def _next_pass(self, tokens: Tokens, order: npt.NDArray[np.int64]) -> tuple[Batch, Tensor]:
        """One forward pass over the first texts of `order`: as many as fit, fewer when memory runs out."""
        while True:
            count = count_within(tokens.lengths[order], self.budget.tokens, padded=self.network.padded)
            batch = pack(tokens, order[:count])
            try:
                return batch, self.network.first_states(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch.members) == 1:
                    raise OutOfMemory(int(order[0]), int(batch.lengths[0]), self.network.device) from error
            # Outside of the handler: the error holds the pass's tensors until it is gone.
            self.budget.halve_below(len(batch.ids))
            release_memory(self.network.device)


def _collect(made: tuple[Batch, Tensor], features: npt.NDArray[np.float32], after_batch: AfterBatch | None) -> None:
    batch, states = made
    features[batch.members] = states.to("cpu", torch.float32).numpy()
    if after_batch is not None:
        after_batch(len(batch.members), len(batch.ids))
