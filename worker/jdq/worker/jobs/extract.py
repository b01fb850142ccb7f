"""The chunks of an extraction after its plan: the features of a run of texts that the store does not have yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from jdq.store.spaces.definition import FeatureSpace
from jdq.store.spaces.feature_space import Space
from jdq.store.trained import Models
from jdq.worker.encoder.by_name import FeatureEncoder, TokenizedTexts, load
from jdq.worker.encoder.errors import EncoderError, NotFiniteFeatures
from jdq.worker.jobs.canary import check_canary
from jdq.worker.jobs.plan import Plan, estimated_tokens, missing_in_any, planned_rows
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.devices import device_of
from jdq.worker.process.errors import NothingFinite
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import Extract
from jdq.worker.queue.ledger import Outcome

log = logging.getLogger(__name__)

# If this many texts have no finite feature at all, the worker is at fault, unless another one finds the same.
SUSPICIOUS_TEXTS = 4


class EncoderChanged(EncoderError):
    """The encoder's files are not those of the plan."""


class BadRows(EncoderError):
    """Some texts have no finite feature; all others of their chunks are stored."""

    def __init__(self, dataset: str, rows: list[int]) -> None:
        super().__init__(
            f"no finite feature for the text of {_rows(rows)} of {dataset}; the others are stored\n"
            "  try: the same with --on-error skip, or --precision float32"
        )


class KillingRows(EncoderError):
    """Some texts kill the process that encodes them; all others of their chunks are stored."""

    def __init__(self, dataset: str, rows: Sequence[int]) -> None:
        super().__init__(
            f"the text of {_rows(list(rows))} of {dataset} killed every process that encoded only it; the others "
            "are stored\n  try: the same with --on-error skip, a smaller --max-length, or workers with more memory"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedChunk:
    """The texts of a chunk that are missing from a feature space.

    n_planned, estimated_tokens: texts of the chunk by its plan, and the plan's estimate of their tokens.
    """

    encoder: FeatureEncoder
    spaces: tuple[Space, ...]
    n_planned: int
    estimated_tokens: int
    rows: np.ndarray
    keys: np.ndarray
    texts: list[str]
    tokens: TokenizedTexts

    @property
    def n_tokens(self) -> int:
        """Tokens of its texts, after truncation."""
        return int(np.minimum(self.tokens.n_tokens, self.spaces[0].definition.max_length).sum())

    def without(self, positions: Sequence[int] | np.ndarray) -> TokenizedChunk:
        """The chunk without the texts at these positions."""
        return self.only(np.delete(np.arange(len(self.texts)), positions)) if len(positions) else self

    def only(self, kept: np.ndarray | slice) -> TokenizedChunk:
        """The chunk with only the texts at these positions."""
        texts = [self.texts[position] for position in np.arange(len(self.texts))[kept]]
        tokens = self.encoder.tokenize(texts)
        return replace(self, rows=self.rows[kept], keys=self.keys[kept], texts=texts, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedChunk:
    """chunk: the texts with a feature; features: those still to be stored, (n, spaces x dim), or None.

    bad_rows: rows, from 1, without a finite one; killers: rows, from 1, that killed their processes.
    """

    chunk: TokenizedChunk
    features: np.ndarray | None
    bad_rows: list[int]
    device_s: float
    killers: Sequence[int] = ()


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
        definitions = [space.definition for space in spaces]
        encoder = self._load(definitions)
        keys = version.keys()[planned]
        lacking = missing_in_any(spaces, keys)
        texts = version.texts(planned[lacking])
        return TokenizedChunk(
            encoder=encoder,
            spaces=spaces,
            n_planned=len(planned),
            estimated_tokens=int(estimated_tokens(version.n_bytes()[planned], definitions[0].max_length).sum()),
            rows=planned[lacking],
            keys=keys[lacking],
            texts=texts,
            tokens=encoder.tokenize(texts),
        )

    def compute(self, chunk: TokenizedChunk, held: HeldLease) -> ComputedChunk:
        """Runs the encoder. Texts without a finite feature are left out, so that the others are stored. A chunk that
        killed processes is computed in parts, each stored before the next: after log2(n) deaths the text that kills is
        by itself, and all others are stored.
        """
        self._check_canary(chunk)
        held.report(chunk_tokens=chunk.n_tokens, chunk_estimated=chunk.estimated_tokens)
        if held.lease.attempt == 1:
            return encoded(chunk, held, partial(self._check_canary, chunk, now=True))
        chunk = chunk.without(np.flatnonzero(np.isin(chunk.rows, held.lease.rows)))
        size = max(1, chunk.n_planned >> held.lease.deaths)
        parts = [
            self._stored(chunk.only(slice(start, start + size)), held) for start in range(0, len(chunk.rows), size)
        ]
        bad_rows = [row for part in parts for row in part.bad_rows]
        return ComputedChunk(
            chunk=chunk.without(np.flatnonzero(np.isin(chunk.rows + 1, bad_rows))),
            features=None,
            bad_rows=bad_rows,
            killers=[row + 1 for row in held.lease.rows],
            device_s=sum(part.device_s for part in parts),
        )

    def publish(self, computed: ComputedChunk) -> Outcome:
        """Puts the features into the store as one shard per feature space that lacks some of them."""
        self._put(computed)
        if self.context.spec.on_error == "fail":
            if computed.killers:
                raise KillingRows(self.context.spec.dataset, computed.killers)
            if computed.bad_rows:
                raise BadRows(self.context.spec.dataset, computed.bad_rows)
        counts = counts_of(computed)
        return Outcome(counts=counts | {f"device_ms_{self.context.runtime.worker}": counts["device_ms"]})

    def _check_canary(self, chunk: TokenizedChunk, *, now: bool = False) -> None:
        """Raises WorkerSick. now: even if it was done recently."""
        space = chunk.spaces[0]
        if now:
            self.context.runtime.canary_due.pop(space.digest, None)
        check_canary(self.context.runtime, chunk.encoder, space.digest, space.definition)

    def _stored(self, part: TokenizedChunk, held: HeldLease) -> ComputedChunk:
        """The part, computed and stored. First reports which text is by itself, in case it kills this process."""
        held.report_now(texts_alone=len(part.rows), row=int(part.rows[0]) if len(part.rows) == 1 else None)
        computed = encoded(part, held, partial(self._check_canary, part, now=True))
        self._put(computed)
        return computed

    def _put(self, computed: ComputedChunk) -> None:
        chunk = computed.chunk
        if computed.features is None:
            return
        producer = self._producer(chunk)
        for space, features in zip(chunk.spaces, np.hsplit(computed.features, len(chunk.spaces)), strict=True):
            new = space.missing(chunk.keys)
            if new.any():
                space.put(chunk.keys[new], features[new], chunk.tokens.n_tokens[new], producer=producer)

    def _producer(self, chunk: TokenizedChunk) -> dict[str, str]:
        device = device_of(self.context.runtime.config, "gpu")
        encoder = self.context.spec.encoder
        return {"job": self.context.job, "encoder": encoder, "path": chunk.encoder.path, "device": device}

    def _digests(self) -> list[str]:
        """The feature spaces of the plan; plans of earlier versions of jdq name only one."""
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


def encoded(chunk: TokenizedChunk, held: HeldLease, is_sound: Callable[[], object]) -> ComputedChunk:
    """The chunk's features; texts without a finite one are left out, unless `is_sound` blames the worker.

    Raises WorkerSick, and NothingFinite if no text has a finite feature.
    """
    began = time.perf_counter()
    n_texts = len(chunk.texts)
    features: np.ndarray | None = None
    bad_rows: list[int] = []
    while chunk.texts and features is None:
        try:
            features = chunk.encoder.encode(chunk.tokens, after_batch=timed(held))
        except NotFiniteFeatures as error:
            is_sound()
            if len(error.positions) == n_texts >= SUSPICIOUS_TEXTS and held.lease.attempt == 1:
                raise NothingFinite(f"no finite feature for any of {n_texts} texts") from error
            bad = [int(row) + 1 for row in chunk.rows[list(error.positions)]]
            log.warning("no finite feature for %s", _rows(bad))
            bad_rows += bad
            chunk = chunk.without(error.positions)
    return ComputedChunk(chunk=chunk, features=features, bad_rows=bad_rows, device_s=time.perf_counter() - began)


def timed(held: HeldLease) -> Callable[[int, int], None]:
    """Reports each forward pass with the computing time so far, because rates must not include the loading time."""
    last = time.perf_counter()

    def after_batch(texts: int, tokens: int) -> None:
        nonlocal last
        before, last = last, time.perf_counter()
        held.live["device_s"] = held.live.get("device_s", 0.0) + last - before
        held.after_batch(texts, tokens)

    return after_batch


def counts_of(computed: ComputedChunk) -> dict[str, int]:
    """What the chunk adds to its job's counts."""
    chunk = computed.chunk
    limit, n_computed = chunk.spaces[0].definition.max_length, len(chunk.texts)
    n_bad = len(computed.bad_rows) + len(computed.killers)
    return {
        "texts_done": chunk.n_planned,
        "computed": n_computed,
        "reused": chunk.n_planned - n_computed - n_bad,
        "skipped": n_bad,
        "tokens": chunk.n_tokens,
        "tokens_before_truncation": int(chunk.tokens.n_tokens.sum()),
        "estimated_done": chunk.estimated_tokens,
        "device_ms": round(1000 * computed.device_s),
        "truncated": int((chunk.tokens.n_tokens > limit).sum()),
        "unknown_tokens": int(chunk.tokens.n_unknown.sum()),
        f"path_{chunk.encoder.path}": n_computed,
    }


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:10]))
    return f"row {shown}" if len(rows) == 1 else f"rows {shown}" + (f" and {len(rows) - 10} more" * (len(rows) > 10))
