"""The chunks of an extraction after its plan: the features of a run of texts that the store does not have yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jdq.store.spaces.definition import FeatureSpace
from jdq.store.spaces.feature_space import Space
from jdq.store.trained import Models
from jdq.worker.encoder.by_name import FeatureEncoder, TokenizedTexts, load
from jdq.worker.encoder.errors import EncoderError, NotFiniteFeatures
from jdq.worker.jobs.plan import Plan, missing_in_any, planned_rows
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import Extract
from jdq.worker.queue.ledger import Outcome

log = logging.getLogger(__name__)


class EncoderChanged(EncoderError):
    """The encoder's files are not those of the plan."""


class BadRows(EncoderError):
    """Some texts have no finite feature; all others of their chunks are stored."""

    def __init__(self, dataset: str, rows: list[int]) -> None:
        super().__init__(
            f"no finite feature for the text of {_rows(rows)} of {dataset}; the others are stored\n"
            "  try: the same with --on-error skip, or --precision float32"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedChunk:
    """The texts of a chunk that a feature space lacks. n_planned: texts of the chunk by its plan."""

    encoder: FeatureEncoder
    spaces: tuple[Space, ...]
    n_planned: int
    rows: np.ndarray
    keys: np.ndarray
    texts: list[str]
    tokens: TokenizedTexts

    def without(self, positions: Sequence[int]) -> TokenizedChunk:
        """The chunk without the texts at these positions."""
        kept = np.delete(np.arange(len(self.texts)), positions)
        texts = [self.texts[position] for position in kept]
        tokens = self.encoder.tokenize(texts)
        return replace(self, rows=self.rows[kept], keys=self.keys[kept], texts=texts, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedChunk:
    """chunk: the texts with a feature; features: (n, spaces x dim), None where there are none.

    bad_rows: rows, from 1, without one.
    """

    chunk: TokenizedChunk
    features: np.ndarray | None
    bad_rows: list[int]
    device_s: float


@dataclass(frozen=True, slots=True)
class ExtractChunk:
    """Reads and tokenizes, runs the encoder, publishes one shard per feature space."""

    context: ChunkContext[Extract]

    def prepare(self) -> TokenizedChunk:
        """Reads the chunk's texts, except those that another job has stored since the plan, and tokenizes them."""
        spec, runtime = self.context.spec, self.context.runtime
        planned = planned_rows(self.context)
        version = runtime.version(spec.dataset, spec.version)
        spaces = tuple(map(runtime.space, self._digests()))
        encoder = self._load([space.definition for space in spaces])
        keys = version.keys()[planned]
        lacking = missing_in_any(spaces, keys)
        texts = version.texts(planned[lacking])
        return TokenizedChunk(
            encoder=encoder,
            spaces=spaces,
            n_planned=len(planned),
            rows=planned[lacking],
            keys=keys[lacking],
            texts=texts,
            tokens=encoder.tokenize(texts),
        )

    def compute(self, chunk: TokenizedChunk, held: HeldLease) -> ComputedChunk:
        """Runs the encoder. Texts without a finite feature are left out, so that the others are stored."""
        began = time.perf_counter()
        features: np.ndarray | None = None
        bad_rows: list[int] = []
        while chunk.texts and features is None:
            try:
                features = chunk.encoder.encode(chunk.tokens, after_batch=held.after_batch)
            except NotFiniteFeatures as error:
                bad = [int(row) + 1 for row in chunk.rows[list(error.positions)]]
                log.warning("no finite feature for %s", _rows(bad))
                bad_rows += bad
                chunk = chunk.without(error.positions)
        return ComputedChunk(chunk=chunk, features=features, bad_rows=bad_rows, device_s=time.perf_counter() - began)

    def publish(self, computed: ComputedChunk) -> Outcome:
        """Puts the features into the store as one shard per feature space that lacks some of them."""
        chunk, spec = computed.chunk, self.context.spec
        if computed.features is not None:
            producer = self._producer(chunk)
            for space, features in zip(chunk.spaces, np.hsplit(computed.features, len(chunk.spaces)), strict=True):
                new = space.missing(chunk.keys)
                if new.any():
                    space.put(chunk.keys[new], features[new], chunk.tokens.n_tokens[new], producer=producer)
        if computed.bad_rows and spec.on_error == "fail":
            raise BadRows(spec.dataset, computed.bad_rows)
        return Outcome(counts=counts_of(computed))

    def _producer(self, chunk: TokenizedChunk) -> dict[str, str]:
        device = device_of(self.context.runtime.config, "gpu")
        encoder = self.context.spec.encoder
        return {"job": self.context.job, "encoder": encoder, "path": chunk.encoder.path, "device": device}

    def _digests(self) -> list[str]:
        """The feature spaces of the plan; one that an earlier version of jdq made names only one."""
        result = self.context.runtime.job_files.get_result(self.context.job)
        return list(result.get("spaces", {}).values()) or [result["space"]]

    def _load(self, definitions: Sequence[FeatureSpace]) -> FeatureEncoder:
        """The encoder of the plan, loaded once per process. Raises EncoderChanged."""
        definition = definitions[0]
        name = self.context.spec.encoder
        encoder = load(
            Models(self.context.runtime.store.root).encoder(name),
            max_length=definition.max_length,
            precision=definition.precision,
            device=device_of(self.context.runtime.config, "gpu"),
            poolings=[each.pooling for each in definitions],
        )
        if encoder.space(definition.storage_dtype) != definition:
            raise EncoderChanged(
                f"the files of encoder {name} changed after the job was planned\n  try: submit the extraction again"
            )
        return encoder


def extract_work(context: ChunkContext[Extract]) -> Plan | ExtractChunk:
    """The work of an extraction's chunk: 0 plans."""
    return ExtractChunk(context) if context.chunk else Plan(context)


def counts_of(computed: ComputedChunk) -> dict[str, int]:
    """What the chunk adds to its job's counts."""
    chunk, n_tokens = computed.chunk, computed.chunk.tokens.n_tokens
    limit, n_computed, n_bad = chunk.spaces[0].definition.max_length, len(chunk.texts), len(computed.bad_rows)
    return {
        "texts_done": chunk.n_planned,
        "computed": n_computed,
        "reused": chunk.n_planned - n_computed - n_bad,
        "skipped": n_bad,
        "tokens": int(np.minimum(n_tokens, limit).sum()),
        "device_ms": round(1000 * computed.device_s),
        "truncated": int((n_tokens > limit).sum()),
        "unknown_tokens": int(chunk.tokens.n_unknown.sum()),
        f"path_{chunk.encoder.path}": n_computed,
    }


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:10]))
    return f"row {shown}" if len(rows) == 1 else f"rows {shown}" + (f" and {len(rows) - 10} more" * (len(rows) > 10))
