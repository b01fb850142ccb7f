"""A prediction: a plan, chunks that compute what the store lacks, and a closing chunk that writes the table.

With a head the chunks are those of an extraction in the head's own feature space. With a fine-tuned model they are the
probabilities of the distinct texts.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jdq.store.trained import Heads, Models
from jdq.worker.jobs.extract import ExtractChunk
from jdq.worker.jobs.plan import Plan, chunk_bounds, chunk_tokens, estimated_tokens, first_rows, gpu_queue_devices
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import ContractError, Extract, Predict
from jdq.worker.queue.ledger import More, Outcome

if TYPE_CHECKING:
    from jdq.worker.finetune.model import FineTuned
    from jdq.worker.process.chunk_loop import ChunkWork


def predict_work(job: str, chunk: int, spec: Predict, runtime: Runtime) -> ChunkWork:
    """The work of a prediction's chunk: 0 plans, the last one closes.

    Raises NoResult, UnknownTrained, ContractError.
    """
    if (spec.head is None) == (spec.model is None):
        raise ContractError("a prediction is made by a head or by a model: just one of them")
    if chunk == 0:
        return HeadPlan(job, spec, runtime) if spec.head else ModelPlan(job, spec, runtime)
    if chunk < len(runtime.runs.get_array(job, "bounds")):
        if spec.head:
            return ExtractChunk(job, chunk, extraction(spec, runtime), runtime)
        return ModelChunk(job, chunk, spec, runtime)
    from jdq.worker.jobs.predictions import PredictionsTable

    return PredictionsTable(job, spec, runtime)


def extraction(spec: Predict, runtime: Runtime) -> Extract:
    """The extraction that makes features of the rows as those were made that the head learnt from.

    Raises UnknownTrained, UnknownSpace.
    """
    origin = Heads(runtime.store.root).record(spec.head or "")["origin"]
    definition = runtime.space(origin["space"]).definition
    return Extract(
        dataset=spec.dataset,
        version=spec.version,
        encoder=origin["encoder"],
        max_length=definition.max_length,
        precision=definition.precision,
        storage_dtype=definition.storage_dtype,
    )


class HeadPlan(Plan):
    """The plan of an extraction, with a closing chunk. Refuses an encoder that is not the head's any more."""

    def __init__(self, job: str, spec: Predict, runtime: Runtime) -> None:
        super().__init__(job, extraction(spec, runtime), runtime)
        self._head_path = Heads(runtime.store.root).path(spec.head or "")

    def prepare(self, pulse: Pulse) -> None:
        """Opens dataset and feature space, and checks the whole head file."""
        from jdq.worker.heads.files import read_record, require_space

        super().prepare(pulse)
        require_space(read_record(self._head_path), self._space.digest)

    def publish(self, pulse: Pulse) -> Outcome:
        """Stores the plan."""
        outcome = super().publish(pulse)
        chunks = outcome.more.chunks if outcome.more else 0
        return dataclasses.replace(outcome, more=_with_closing(chunks))


class ModelPlan:
    """Cuts the distinct texts into chunks."""

    def __init__(self, job: str, spec: Predict, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Reads what made the model."""
        self._version = self._runtime.version(self._spec.dataset, self._spec.version)
        self._max_length = Models(self._runtime.store.root).record(self._spec.model or "")["max_length"]

    def compute(self, pulse: Pulse) -> None:
        """Finds the distinct texts."""
        self._rows = first_rows(self._version.keys())

    def publish(self, pulse: Pulse) -> Outcome:
        """Stores rows and bounds."""
        tokens = estimated_tokens(self._version.n_bytes()[self._rows], self._max_length)
        most = chunk_tokens(self._runtime, gpu_queue_devices(self._runtime), int(tokens.sum()))
        runs = self._runtime.runs
        runs.put_array(self._job, "rows", self._rows)
        runs.put_array(self._job, "bounds", chunk_bounds(tokens, most))
        n_chunks = len(runs.get_array(self._job, "bounds")) - 1
        repeats = self._version.n_rows - len(self._rows)
        counts = {"texts_total": self._version.n_rows, "texts_done": repeats, "reused": repeats}
        return Outcome(counts=counts, more=_with_closing(n_chunks))


class ModelChunk:
    """The probabilities of one run of texts."""

    def __init__(self, job: str, chunk: int, spec: Predict, runtime: Runtime) -> None:
        self._job = job
        self._chunk = chunk
        self._spec = spec
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Reads the texts, and the model once in each process."""
        version = self._runtime.version(self._spec.dataset, self._spec.version)
        bounds = self._runtime.runs.get_array(self._job, "bounds")
        rows = self._runtime.runs.get_array(self._job, "rows")[bounds[self._chunk - 1] : bounds[self._chunk]]
        self._texts = version.texts(rows)
        folder = Models(self._runtime.store.root).path(self._spec.model or "")
        self._model = _loaded(folder, device_of(self._runtime.config, "gpu"))

    def compute(self, pulse: Pulse) -> None:
        """Runs the network, and stops between batches when told to."""
        self._probabilities = self._model.predict_proba(self._texts, check=lambda done, _: pulse.report(texts=done))

    def publish(self, pulse: Pulse) -> Outcome:
        """Stores the probabilities for the closing chunk."""
        self._runtime.runs.put_array(self._job, f"part-{self._chunk}", self._probabilities)
        return Outcome(counts={"texts_done": len(self._texts), "computed": len(self._texts)})


def _with_closing(chunks: int) -> More:
    return More(chunks=chunks, queue="gpu", closing="cpu") if chunks else More(chunks=1, queue="cpu")


@lru_cache(maxsize=1)
def _loaded(folder: Path, device: str) -> FineTuned:
    from jdq.worker.finetune.model import load_fine_tuned

    return load_fine_tuned(folder, device=device)
