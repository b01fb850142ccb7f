"""An encoder in memory: texts to tokens to features, by forward passes that fit the machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from jdq.worker.encoder.batch import Batch, count_within, longest_first, pack
from jdq.worker.encoder.budget import TokenBudget, is_out_of_memory, release_memory
from jdq.worker.encoder.errors import NotFiniteFeatures, OutOfMemory, TokenizerMismatch
from jdq.worker.encoder.forward_pool import LEAST_TOKENS_PER_PASS, ForwardPool, Network, Pending, open_forward_pool
from jdq.worker.encoder.tokens import TextTokenizer, Tokens

if TYPE_CHECKING:
    from jdq.store.spaces.definition import FeatureSpace
    from jdq.worker.encoder.identity import Identity

AfterBatch = Callable[[int, int], None]


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
        """Columns of one pooling's feature."""
        return self.identity.dim

    def space(self, storage_dtype: str) -> FeatureSpace:
        """The feature space of the first pooling's features, once stored as `storage_dtype`."""
        return self.identity.space(storage_dtype)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts, in order, truncated to the encoder's limit."""
        return self.tokenizer.tokenize(texts, self.identity.max_length)

    def encode(self, tokens: Tokens, *, after_batch: AfterBatch | None = None) -> npt.NDArray[np.float32]:
        """The texts' features, in the order of `tokens`: (texts, poolings x dim) float32, the poolings side by side.

        `after_batch(texts, tokens)` is called after every forward pass with the numbers in that pass; what it raises
        stops the encoding. Raises NotFiniteFeatures, and OutOfMemory if a single text does not fit.
        """
        if not tokens.lengths.all():
            empty = int(np.flatnonzero(tokens.lengths == 0)[0])
            raise TokenizerMismatch(f"the tokenizer finds no token in the text at position {empty}")
        features = np.empty((len(tokens), len(self.identity.poolings) * self.dim), dtype=np.float32)
        bad: list[int] = []
        with open_forward_pool(self.network, len(tokens), len(tokens.ids)) as pool:
            for batch, states in self._passes(tokens, pool):
                features[batch.indices] = rows = states.numpy()
                bad += batch.indices[~np.isfinite(rows).all(axis=1)].tolist()
                if after_batch is not None:
                    after_batch(len(batch.indices), len(batch.ids))
        if bad:
            raise NotFiniteFeatures(sorted(bad), self.identity.precision)
        return features

    def _passes(self, tokens: Tokens, pool: ForwardPool) -> Iterator[tuple[Batch, Tensor]]:
        """All forward passes over the texts, longest first; one that runs out of memory is repeated in parts."""
        order = longest_first(tokens)
        running: deque[tuple[Batch, Pending]] = deque()
        while len(order) or running:
            while len(order) and len(running) < pool.ahead:
                lengths = tokens.lengths[order]
                budget = _share(int(lengths.sum()), self.budget.tokens, pool.count)
                count = count_within(lengths, budget, padded=self.network.padded)
                batch = pack(tokens, order[:count])
                running.append((batch, pool.start(batch)))
                order = order[count:]
            batch, pending = running.popleft()
            states = self._states(batch, pending)
            if states is not None:
                yield batch, states
            else:
                order = np.concatenate([batch.indices, order])

    def _states(self, batch: Batch, pending: Pending) -> Tensor | None:
        """The result of a forward pass, or None if it ran out of memory; the next ones are then smaller."""
        try:
            states = pending.result()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch.indices) == 1:
                raise OutOfMemory(int(batch.indices[0]), int(batch.lengths[0]), self.network.device) from error
            self.budget.halve_below(len(batch.ids))
            release_memory(error, self.network.device)
            return None
        self.budget.pass_succeeded()
        return states


def _share(n_left: int, budget: int, n_passes: int) -> int:
    """Tokens of the next pass: passes become shorter towards the end, so that all threads end together."""
    return budget if n_passes == 1 else min(budget, max(LEAST_TOKENS_PER_PASS, n_left // n_passes))
