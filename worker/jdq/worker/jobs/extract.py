"""Chunks 1 and on of an extraction: the features of one run of texts that the store does not have yet."""

from __future__ import annotations

import numpy as np

from jdq.worker.contract import Extract
from jdq.worker.devices import device_of
from jdq.worker.encoder.errors import EncoderError
from jdq.worker.encoders import FeatureEncoder, TokenizedTexts, load
from jdq.worker.heart import Pulse
from jdq.worker.ledger.ledger import Outcome
from jdq.worker.runtime import Runtime


class EncoderChanged(EncoderError):
    """The encoder's files are not those that the plan saw."""


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
        bounds = self._runtime.runs.get_array(self._job, "bounds")
        rows = self._runtime.runs.get_array(self._job, "rows")[bounds[self._chunk - 1] : bounds[self._chunk]]
        version = self._runtime.version(self._spec.dataset, self._spec.version)
        self._planned = len(rows)
        self._space = self._runtime.space(self._runtime.runs.get_result(self._job)["space"])
        self._encoder = self._load()
        keys = version.keys()[rows]
        lacking = self._space.missing(keys)
        self._keys = keys[lacking]
        self._tokens: TokenizedTexts = self._encoder.tokenize(version.texts(rows[lacking]))

    def compute(self, pulse: Pulse) -> None:
        """Runs the encoder, and stops between batches when told to."""
        if len(self._keys):
            self._features = self._encoder.encode(self._tokens, after_batch=pulse.after_batch)

    def publish(self, pulse: Pulse) -> Outcome:
        """Puts the features into the store as one shard."""
        computed = len(self._keys)
        if self._features is not None:
            self._space.put(self._keys, self._features, self._tokens.n_tokens, producer=self._producer())
        return Outcome(
            counts={
                "texts_done": self._planned,
                "computed": computed,
                "reused": self._planned - computed,
                "tokens": int(np.minimum(self._tokens.n_tokens, self._space.definition.max_length).sum()),
                "cut": int((self._tokens.n_tokens > self._space.definition.max_length).sum()),
            }
        )

    def _producer(self) -> dict[str, str]:
        device = device_of(self._runtime.config, "gpu")
        return {"job": self._job, "encoder": self._spec.encoder, "path": self._encoder.path, "device": device}

    def _load(self) -> FeatureEncoder:
        """The encoder of the plan, once in each process."""
        definition = self._space.definition
        encoder = load(
            self._spec.encoder,
            max_length=definition.max_length,
            precision=definition.precision,
            device=device_of(self._runtime.config, "gpu"),
        )
        if encoder.space(definition.storage_dtype) != definition:
            raise EncoderChanged(
                f"the files of encoder {self._spec.encoder} changed after the job was planned\n"
                "  try: submit the extraction again"
            )
        return encoder
