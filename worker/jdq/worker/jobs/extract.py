"""Chunks 1 and on of an extraction: the features of one run of texts that the store does not have yet."""

from __future__ import annotations

import logging
import time

import numpy as np

from jdq.store.trained import Models
from jdq.worker.encoder.by_name import FeatureEncoder, TokenizedTexts, load
from jdq.worker.encoder.errors import EncoderError, NotFiniteFeatures
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Extract
from jdq.worker.queue.ledger import Outcome

log = logging.getLogger(__name__)


class EncoderChanged(EncoderError):
    """The encoder's files are not those that the plan saw."""


class BadRows(EncoderError):
    """Some texts have no finite feature; all others of their chunks are stored."""

    def __init__(self, dataset: str, rows: list[int]) -> None:
        super().__init__(
            f"no finite feature for the text of {_rows(rows)} of {dataset}; the others are stored\n"
            "  try: the same with --on-error skip, or --precision float32"
        )


class ExtractChunk:
    """Reads and tokenizes, runs the encoder, publishes one shard."""

    def __init__(self, job: str, chunk: int, spec: Extract, runtime: Runtime) -> None:
        self._job = job
        self._chunk = chunk
        self._spec = spec
        self._runtime = runtime
        self._features: np.ndarray | None = None
        self._device_s = 0.0
        self._bad: list[int] = []  # rows without a finite feature, counted from 1

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
        self._keys, self._rows = keys[lacking], rows[lacking]
        self._texts = version.texts(self._rows)
        self._tokens: TokenizedTexts = self._encoder.tokenize(self._texts)

    def compute(self, pulse: Pulse) -> None:
        """Runs the encoder, and stops between batches when told to."""
        began = time.perf_counter()
        while len(self._keys) and self._features is None:
            try:
                self._features = self._encoder.encode(self._tokens, after_batch=pulse.after_batch)
            except NotFiniteFeatures as error:
                self._leave_out(list(error.positions))
        self._device_s = time.perf_counter() - began

    def publish(self, pulse: Pulse) -> Outcome:
        """Puts the features into the store as one shard."""
        if self._features is not None:
            self._space.put(self._keys, self._features, self._tokens.n_tokens, producer=self._producer())
        if self._bad and self._spec.on_error == "fail":
            raise BadRows(self._spec.dataset, self._bad)
        n_tokens, limit = self._tokens.n_tokens, self._space.definition.max_length
        computed = len(self._keys)
        return Outcome(
            counts={
                "texts_done": self._planned,
                "computed": computed,
                "reused": self._planned - computed - len(self._bad),
                "skipped": len(self._bad),
                "tokens": int(np.minimum(n_tokens, limit).sum()),
                "device_ms": round(1000 * self._device_s),
                "truncated": int((n_tokens > limit).sum()),
                "unknown_tokens": int(self._tokens.n_unknown.sum()),
                f"path_{self._encoder.path}": computed,
            }
        )

    def _leave_out(self, positions: list[int]) -> None:
        """Goes on without these texts, so that they take no others down."""
        bad = [int(row) + 1 for row in self._rows[positions]]
        self._bad += bad
        log.warning("no finite feature for %s", _rows(bad))
        self._keys = np.delete(self._keys, positions, axis=0)
        self._rows = np.delete(self._rows, positions)
        gone = set(positions)
        self._texts = [text for position, text in enumerate(self._texts) if position not in gone]
        self._tokens = self._encoder.tokenize(self._texts)

    def _producer(self) -> dict[str, str]:
        device = device_of(self._runtime.config, "gpu")
        return {"job": self._job, "encoder": self._spec.encoder, "path": self._encoder.path, "device": device}

    def _load(self) -> FeatureEncoder:
        """The encoder of the plan, once in each process."""
        definition = self._space.definition
        encoder = load(
            Models(self._runtime.store.root).encoder(self._spec.encoder),
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


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:10]))
    return f"row {shown}" if len(rows) == 1 else f"rows {shown}" + (f" and {len(rows) - 10} more" * (len(rows) > 10))
