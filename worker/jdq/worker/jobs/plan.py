"""Chunk 0 of an extraction: which texts the store lacks, in chunks of a bounded number of tokens."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from jdq.store.datasets import DatasetVersion
from jdq.store.job_files import JobFiles
from jdq.store.keys import repeats
from jdq.store.spaces.feature_space import Space
from jdq.store.trained import Models
from jdq.worker.config import Config
from jdq.worker.encoder.by_name import poolings_of, precision_of, space_of
from jdq.worker.encoder.options import automatic_precision, device_kind
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Extract
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.precision import settle_precision, settled_precision
from jdq.worker.queue.scripts import FollowUpChunks

log = logging.getLogger(__name__)

# English text has about 4.4 bytes per BART token; with a lower number, chunks are too small rather than too large.
BYTES_PER_TOKEN = 4
# About ten seconds of bart-base on two CPU cores; about half a second of an H200.
CHUNK_TOKENS = {"cpu": 32_768, "cuda": 1_048_576}
CHUNK_TEXTS = 16_384
# Small jobs get smaller chunks, so that each worker gets several.
CHUNKS_PER_WORKER = 4
LEAST_TOKENS = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The dataset version and the feature spaces of an extraction, and the devices of the gpu queue's live workers.

    There is a space per pooling; pooling_reason says why these poolings.
    """

    version: DatasetVersion
    spaces: tuple[Space, ...]
    pooling_reason: str
    devices: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTexts:
    """rows: the first row of each text that a space lacks."""

    opened: Opened
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class Plan:
    """Finds the new texts, and stores the rows to compute and the bounds of the chunks."""

    context: ChunkContext[Extract]

    def prepare(self) -> Opened:
        """Opens the dataset and the feature spaces, which fingerprints the encoder's files."""
        spec, runtime = self.context.spec, self.context.runtime
        devices = gpu_queue_devices(runtime)
        version = runtime.version(spec.dataset, spec.version)
        encoder = Models(runtime.store.root).encoder(spec.encoder)
        poolings = poolings_of(encoder, spec.pooling)
        device = device_kind(devices)
        precision = precision_of(
            spec.precision, encoder, device, poolings.names, lambda: self._automatic(version, device)
        )
        definition = space_of(
            encoder,
            max_length=spec.max_length,
            precision=precision,
            storage_dtype=spec.storage_dtype,
            pooling=poolings.names[0],
        )
        definitions = [msgspec.structs.replace(definition, pooling=name) for name in poolings.names]
        return Opened(
            version=version,
            spaces=tuple(runtime.space(runtime.store.space(each).digest) for each in definitions),
            pooling_reason=poolings.reason,
            devices=devices,
        )

    def _automatic(self, version: DatasetVersion, device: str) -> str:
        """The installation's precision; before it is decided, that of the dataset's last features, else the device's.

        If it were chosen again whenever workers come and go, everything would be computed again in another feature
        space.
        """
        runtime, encoder = self.context.runtime, self.context.spec.encoder
        earlier = next((record.space for record in version.spaces() if record.encoder == encoder), None)
        if earlier and settled_precision(runtime.jobbook, runtime.store) is None:
            return runtime.space(earlier).definition.precision
        return settle_precision(runtime.jobbook, runtime.store, automatic_precision(device))

    def compute(self, opened: Opened, held: HeldLease) -> NewTexts:
        """Asks the store which texts it lacks in one of the spaces."""
        keys = opened.version.keys()
        rows = first_rows(keys)
        return NewTexts(opened=opened, rows=rows[missing_in_any(opened.spaces, keys[rows])])

    def publish(self, new: NewTexts) -> Outcome:
        """Stores the plan; the outcome has the follow-up chunks.

        If the worker died after storing the plan, it is made again, and other texts may be stored by then: the first
        stored plan stays, and everything that follows uses it.
        """
        files, job, version = self.context.runtime.job_files, self.context.job, new.opened.version
        files.put_array(job, "rows", new.rows)
        rows = files.get_array(job, "rows")
        tokens = estimated_tokens(version.n_bytes()[rows], new.opened.spaces[0].definition.max_length)
        n_chunks = put_bounds(self.context, new.opened.devices, tokens)
        result = self._result(new.opened)
        files.put_result(job, result)
        for space in reversed(new.opened.spaces):  # the first one last, because heads use the newest
            version.record_space(space.digest, encoder=self.context.spec.encoder, job=job)
        reused = version.n_rows - len(rows)
        log.info("%d rows, %d to compute, %d chunks", version.n_rows, len(rows), n_chunks)
        return Outcome(
            counts={
                "texts_total": version.n_rows,
                "texts_done": reused,
                "reused": reused,
                "estimated_tokens": int(tokens.sum()),
            },
            result=result,
            follow_up=FollowUpChunks(chunks=n_chunks, queue="gpu") if n_chunks else None,
        )

    def _result(self, opened: Opened) -> dict[str, Any]:
        definition = opened.spaces[0].definition
        return {
            "dataset": opened.version.name,
            "version": opened.version.version,
            "rows": opened.version.n_rows,
            "encoder": self.context.spec.encoder,
            "space": opened.spaces[0].digest,
            "spaces": {space.definition.pooling: space.digest for space in opened.spaces},
            "pooling": definition.pooling,
            "pooling_reason": opened.pooling_reason,
            "precision": definition.precision,
            "max_length": definition.max_length,
            "dim": definition.dim,
        }


def put_bounds(context: ChunkContext[Any], devices: list[str], tokens: np.ndarray) -> int:
    """Stores the bounds of the chunks of rows with these token counts, unless already stored; returns their number."""
    most = chunk_tokens(context.runtime.config, devices, int(tokens.sum()))
    context.runtime.job_files.put_array(context.job, "bounds", chunk_bounds(tokens, most))
    return len(context.runtime.job_files.get_array(context.job, "bounds")) - 1


def planned_rows(context: ChunkContext[Any]) -> np.ndarray:
    """The rows of the context's chunk, by the stored plan: int64. Raises NoResult."""
    bounds, rows = _stored_plan(context.runtime.job_files, context.job)
    return rows[bounds[context.chunk - 1] : bounds[context.chunk]]


@lru_cache(maxsize=4)
def _stored_plan(files: JobFiles, job: str) -> tuple[np.ndarray, np.ndarray]:
    """The bounds and the rows. Their digests are checked only once, because that takes 0.1 s for ten million rows."""
    return files.get_array(job, "bounds"), files.get_array(job, "rows")


def missing_in_any(spaces: Sequence[Space], keys: np.ndarray) -> np.ndarray:
    """(n,) bool: True if at least one of the spaces has no row of the key."""
    missing: np.ndarray = np.logical_or.reduce([space.missing(keys) for space in spaces])
    return missing


def gpu_queue_devices(runtime: Runtime) -> list[str]:
    """The devices of the gpu queue's live workers, which may be CPUs."""
    return [w.device for w in runtime.jobbook.workers() if w.queue == "gpu" and w.state != "dead"]


def estimated_tokens(n_bytes: np.ndarray, max_length: int) -> np.ndarray:
    """Estimates of the tokens of texts of `n_bytes` bytes, after truncation: int64."""
    estimate: np.ndarray = np.minimum(n_bytes.astype(np.int64) // BYTES_PER_TOKEN + 2, max_length)
    return estimate


def chunk_tokens(config: Config, devices: list[str], total: int) -> int:
    """The maximum number of tokens per chunk of a job with `total` tokens."""
    if config.chunk_tokens:
        return config.chunk_tokens
    most = CHUNK_TOKENS[device_kind(devices)]
    return max(LEAST_TOKENS, min(most, total // (CHUNKS_PER_WORKER * max(1, len(devices)))))


def first_rows(keys: np.ndarray) -> np.ndarray:
    """The first row of each distinct key (n, 16), in row order: int64."""
    return np.flatnonzero(~repeats(keys))


def chunk_bounds(tokens: np.ndarray, chunk_tokens: int) -> np.ndarray:
    """Where chunks begin and end among rows of these token counts: chunk i is bounds[i]:bounds[i + 1].

    A chunk holds at most `chunk_tokens` tokens, or one row, and at most CHUNK_TEXTS rows.
    """
    bounds = [0]
    ends = np.cumsum(tokens)
    while bounds[-1] < len(tokens):
        start = bounds[-1]
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + chunk_tokens, side="right"))
        bounds.append(min(max(stop, start + 1), start + CHUNK_TEXTS))
    return np.array(bounds, dtype=np.int64)
