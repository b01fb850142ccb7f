"""Chunk 0 of an extraction: which texts the store lacks, in chunks of a bounded number of tokens."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from jdq.store.trained import Models
from jdq.worker.encoder.by_name import space_of
from jdq.worker.precision import AUTO, automatic_precision
from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Extract
from jdq.worker.queue.ledger import More, Outcome

log = logging.getLogger(__name__)

# English text has about 4.4 bytes a BART token; a little low, so that chunks are rather too small.
BYTES_PER_TOKEN = 4
# About ten seconds of bart-base on two CPU cores; about half a second of an H200.
CHUNK_TOKENS = {"cpu": 32_768, "cuda": 1_048_576}
CHUNK_TEXTS = 16_384
# Small jobs are cut finer, so that each worker gets several chunks.
CHUNKS_PER_WORKER = 4
LEAST_TOKENS = 4_096


class Plan:
    """Finds what is new, and stores the rows to compute and the bounds of the chunks."""

    def __init__(self, job: str, spec: Extract, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Opens the dataset and the feature space, which loads and fingerprints the encoder's files."""
        self._version = self._runtime.version(self._spec.dataset, self._spec.version)
        self._devices = gpu_queue_devices(self._runtime)
        definition = space_of(
            Models(self._runtime.store.root).encoder(self._spec.encoder),
            max_length=self._spec.max_length,
            precision=self._precision(),
            storage_dtype=self._spec.storage_dtype,
        )
        self._space = self._runtime.space(self._runtime.store.space(definition).digest)

    def compute(self, pulse: Pulse) -> None:
        """Asks the store which texts it lacks."""
        keys = self._version.keys()
        rows = first_rows(keys)
        self._rows = rows[self._space.missing(keys[rows])]

    def publish(self, pulse: Pulse) -> Outcome:
        """Stores the plan and says how many chunks follow.

        A plan whose worker died after storing it is made again, and other texts may be stored by then: what was stored
        first stands, and all that follows goes by it.
        """
        runs = self._runtime.runs
        runs.put_array(self._job, "rows", self._rows)
        rows = runs.get_array(self._job, "rows")
        tokens = self._tokens(rows)
        most = chunk_tokens(self._runtime, self._devices, int(tokens.sum()))
        runs.put_array(self._job, "bounds", chunk_bounds(tokens, most))
        n_chunks = len(runs.get_array(self._job, "bounds")) - 1
        runs.put_result(self._job, self._facts())
        self._version.record_space(self._space.digest, encoder=self._spec.encoder, job=self._job)
        n_rows = self._version.n_rows
        reused = n_rows - len(rows)
        log.info("%d rows, %d to compute, %d chunks", n_rows, len(rows), n_chunks)
        return Outcome(
            counts={"texts_total": n_rows, "texts_done": reused, "reused": reused},
            result=self._facts(),
            more=More(chunks=n_chunks, queue="gpu") if n_chunks else None,
        )

    def _facts(self) -> dict[str, Any]:
        definition = self._space.definition
        return {
            "dataset": self._version.name,
            "version": self._version.version,
            "rows": self._version.n_rows,
            "encoder": self._spec.encoder,
            "space": self._space.digest,
            "precision": definition.precision,
            "max_length": definition.max_length,
            "dim": definition.dim,
        }

    def _precision(self) -> str:
        """The precision of the job, or the automatic one of the devices that will compute."""
        if self._spec.precision != AUTO:
            return self._spec.precision
        return automatic_precision("cuda" if on_cuda(self._devices) else "cpu")

    def _tokens(self, rows: np.ndarray) -> np.ndarray:
        return estimated_tokens(self._version.n_bytes()[rows], self._space.definition.max_length)


def gpu_queue_devices(runtime: Runtime) -> list[str]:
    """The devices of the live workers of the gpu queue, which may be CPUs."""
    return [w.device for w in runtime.jobbook.workers() if w.queue == "gpu" and w.state != "dead"]


def on_cuda(devices: list[str]) -> bool:
    """Whether one of them is a GPU."""
    return any(device.startswith("cuda") for device in devices)


def estimated_tokens(n_bytes: np.ndarray, max_length: int) -> np.ndarray:
    """About how many tokens texts of so many bytes have, once they are cut: int64."""
    estimate: np.ndarray = np.minimum(n_bytes.astype(np.int64) // BYTES_PER_TOKEN + 2, max_length)
    return estimate


def chunk_tokens(runtime: Runtime, devices: list[str], total: int) -> int:
    """How many tokens a chunk of a job with `total` tokens may hold."""
    if runtime.config.chunk_tokens:
        return runtime.config.chunk_tokens
    most = CHUNK_TOKENS["cuda" if on_cuda(devices) else "cpu"]
    return max(LEAST_TOKENS, min(most, total // (CHUNKS_PER_WORKER * max(1, len(devices)))))


def first_rows(keys: np.ndarray) -> np.ndarray:
    """The first row of each distinct key (n, 16), in row order: int64."""
    _, rows = np.unique(np.ascontiguousarray(keys).view("V16").ravel(), return_index=True)
    return np.sort(rows)


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
