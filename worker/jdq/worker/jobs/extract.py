"""Chunks 1 and on of an extraction: the features of one run of texts that the store does not have yet."""

from __future__ import annotations

import numpy as np

from jdq.worker.contract import Extract
from jdq.worker.encoder import Encoder, Tokens
from jdq.worker.heart import Pulse
from jdq.worker.ledger.ledger import Outcome
from jdq.worker.runtime import Runtime


class ExtractChunk:
    """Reads and tokenizes, runs the encoder, publishes one shard."""

    def __init__(self, job: str, chunk: int, spec: Extract, runtime: Runtime) -> None:
        self._job = job
        self._chunk = chunk
        self._spec = spec
        self._runtime = runtime
        self._features: np.ndarray | None = None

    def prepare(self, pulse: Pulse) -> None:
        """Reads the chunk's texts, less those that another job has stored since the plan, and tokenizes them."""
        store = self._runtime.store
        bounds = store.runs.get_array(self._job, "bounds")
        rows = store.runs.get_array(self._job, "rows")[bounds[self._chunk - 1] : bounds[self._chunk]]
        version = store.datasets.get(self._spec.dataset, self._spec.version)
        self._planned = len(rows)
        self._encoder = self._load()
        self._space = store.space(self._encoder.space(self._spec.storage_dtype))
        keys = version.keys()[rows]
        lacking = self._space.missing(keys)
        self._keys = keys[lacking]
        self._tokens: Tokens = self._encoder.tokenize(version.texts(rows[lacking]))

    def compute(self, pulse: Pulse) -> None:
        """Runs the encoder, and stops between batches when told to."""
        if len(self._keys):
            self._features = self._encoder.encode(self._tokens, after_batch=pulse.after_batch)

    def publish(self, pulse: Pulse) -> Outcome:
        """Puts the features into the store as one shard."""
        computed = len(self._keys)
        if self._features is not None:
            self._space.put(self._keys, self._features, self._tokens.n_tokens, producer=self._encoder.producer())
        return Outcome(
            counts={
                "texts_done": self._planned,
                "computed": computed,
                "reused": self._planned - computed,
                "tokens": int(np.minimum(self._tokens.n_tokens, self._space.definition.max_length).sum()),
                "cut": int((self._tokens.n_tokens > self._space.definition.max_length).sum()),
            }
        )

    def _load(self) -> Encoder:
        """The encoder of the plan, loaded once in each process. Its feature space must be the plan's."""
        raise NotImplementedError
