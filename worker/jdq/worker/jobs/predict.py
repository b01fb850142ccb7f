"""A prediction: a plan, chunks that compute what the store lacks, and a closing chunk that writes the table.

With a head, the chunks are those of an extraction into the head's own feature space. With a fine-tuned model, they are
the probabilities of the distinct texts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from jdq.store.trained import Heads, Models
from jdq.worker.heads.certainty import check_requested
from jdq.worker.jobs.extract import ExtractChunk, timed
from jdq.worker.jobs.plan import (
    NewTexts,
    Opened,
    Plan,
    estimated_tokens,
    first_rows,
    gpu_queue_devices,
    planned_rows,
    put_bounds,
)
from jdq.worker.jobs.predictions import PredictionsTable
from jdq.worker.process.chunk_work import ChunkContext, ChunkWork
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import ContractError, Extract, Predict
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks

if TYPE_CHECKING:
    from jdq.worker.encoder.tokens import Tokens
    from jdq.worker.finetune.model import FineTuned


def predict_work(context: ChunkContext[Predict]) -> ChunkWork[Any, Any]:
    """The work of a prediction's chunk: 0 plans, the last one closes.

    Raises NoResult, UnknownTrained, UnknownSpace, ContractError.
    """
    head, model = context.spec.head, context.spec.model
    if (head is None) == (model is None):
        raise ContractError("a prediction needs either a head or a model, and not both")
    if context.chunk == 0:
        return HeadPlan(context, head) if head else ModelPlan(context)
    if context.chunk < len(context.runtime.job_files.get_array(context.job, "bounds")):
        return ExtractChunk(extraction(context, head)) if head else ModelChunk(context)
    return PredictionsTable(context)


def extraction(context: ChunkContext[Predict], head: str) -> ChunkContext[Extract]:
    """The extraction that computes the rows' features exactly as those on which the head was trained.

    Raises UnknownTrained, UnknownSpace.
    """
    origin = Heads(context.runtime.store.root).record(head)["origin"]
    definition = context.runtime.space(origin["space"]).definition
    spec = Extract(
        dataset=context.spec.dataset,
        version=context.spec.version,
        encoder=origin["encoder"],
        max_length=definition.max_length,
        precision=definition.precision,
        storage_dtype=definition.storage_dtype,
        pooling=(definition.pooling,),
    )
    return ChunkContext(job=context.job, chunk=context.chunk, spec=spec, runtime=context.runtime)


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """The plan of an extraction, with a closing chunk. Refuses an encoder that is no longer the head's.

    A head that reads only texts needs neither encoder nor features, so there is only the closing chunk.
    """

    context: ChunkContext[Predict]
    head: str

    @property
    def plan(self) -> Plan:
        """The extraction's plan."""
        return Plan(extraction(self.context, self.head))

    def prepare(self) -> Opened | None:
        """Checks the complete head file, and opens dataset and feature space; None if no features are read."""
        from jdq.worker.heads.files import load_head, require_space

        head = load_head(Heads(self.context.runtime.store.root).path(self.head))
        check_requested(self.context.spec.certain, msgspec.to_builtins(head.record), self.head)
        if not head.predictor.reads_features:
            return None
        opened = self.plan.prepare()
        require_space(head.record, opened.spaces[0].digest)
        return opened

    def compute(self, opened: Opened | None, held: HeldLease) -> NewTexts | None:
        """Asks the store which texts it lacks."""
        return None if opened is None else self.plan.compute(opened, held)

    def publish(self, new: NewTexts | None) -> Outcome:
        """Stores the plan."""
        if new is None:
            spec, runtime = self.context.spec, self.context.runtime
            runtime.job_files.put_array(self.context.job, "bounds", np.zeros(1, dtype=np.int64))
            n_rows = runtime.version(spec.dataset, spec.version).n_rows
            return Outcome(counts={"texts_total": n_rows, "texts_done": n_rows}, follow_up=_with_closing(0))
        outcome = self.plan.publish(new)
        return replace(outcome, follow_up=_with_closing(outcome.follow_up.chunks if outcome.follow_up else 0))


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Divides the distinct texts into chunks."""

    context: ChunkContext[Predict]

    def prepare(self) -> int:
        """The model's maximum length, in tokens."""
        model = self.context.spec.model or ""
        record = Models(self.context.runtime.store.root).record(model)
        check_requested(self.context.spec.certain, record, model)
        return int(record["max_length"])

    def compute(self, max_length: int, held: HeldLease) -> tuple[np.ndarray, np.ndarray]:
        """The first row of each distinct text, and an estimate of its tokens."""
        version = self.context.runtime.version(self.context.spec.dataset, self.context.spec.version)
        rows = first_rows(version.keys())
        return rows, estimated_tokens(version.n_bytes()[rows], max_length)

    def publish(self, computed: tuple[np.ndarray, np.ndarray]) -> Outcome:
        """Stores rows and bounds."""
        rows, tokens = computed
        runtime = self.context.runtime
        runtime.job_files.put_array(self.context.job, "rows", rows)
        n_chunks = put_bounds(self.context, gpu_queue_devices(runtime), tokens)
        n_rows = runtime.version(self.context.spec.dataset, self.context.spec.version).n_rows
        repeats = n_rows - len(rows)
        estimate = {"estimated_tokens": int(tokens.sum())}
        counts = {"texts_total": n_rows, "texts_done": repeats, "reused": repeats, **estimate}
        return Outcome(counts=counts, follow_up=_with_closing(n_chunks))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedTexts:
    """The texts of a chunk, for a model. estimated: the plan's estimate of their tokens."""

    model: FineTuned
    tokens: Tokens
    estimated: int


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """The probabilities of a run of texts."""

    context: ChunkContext[Predict]

    def prepare(self) -> TokenizedTexts:
        """Loads the model once per process, reads the texts and tokenizes them."""
        spec, runtime = self.context.spec, self.context.runtime
        rows, version = planned_rows(self.context), runtime.version(spec.dataset, spec.version)
        model = _loaded(Models(runtime.store.root).path(spec.model or ""), device_of(runtime.config, "gpu"))
        length = model.record.max_length
        estimated = int(estimated_tokens(version.n_bytes()[rows], length).sum())
        tokens = model.tokenizer.tokenize(version.texts(rows), length)
        return TokenizedTexts(model=model, tokens=tokens, estimated=estimated)

    def compute(self, texts: TokenizedTexts, held: HeldLease) -> tuple[np.ndarray, dict[str, int]]:
        """Runs the network: (texts, classes) float32, and what the chunk adds to its job's counts."""
        n_tokens = int(texts.tokens.lengths.sum())
        held.report(chunk_tokens=n_tokens, chunk_estimated=texts.estimated)
        began = time.perf_counter()
        probabilities = texts.model.proba_of_tokens(texts.tokens, after_batch=timed(held))
        device_ms = round(1000 * (time.perf_counter() - began))
        return probabilities, {
            "texts_done": len(probabilities),
            "computed": len(probabilities),
            "tokens": n_tokens,
            "estimated_done": texts.estimated,
            "device_ms": device_ms,
            f"device_ms_{self.context.runtime.worker}": device_ms,
        }

    def publish(self, computed: tuple[np.ndarray, dict[str, int]]) -> Outcome:
        """Stores the probabilities for the closing chunk."""
        probabilities, counts = computed
        self.context.runtime.job_files.put_array(self.context.job, f"part-{self.context.chunk}", probabilities)
        return Outcome(counts=counts)


def _with_closing(chunks: int) -> FollowUpChunks:
    return (
        FollowUpChunks(chunks=chunks, queue="gpu", closing="cpu") if chunks else FollowUpChunks(chunks=1, queue="cpu")
    )


@lru_cache(maxsize=1)
def _loaded(folder: Path, device: str) -> FineTuned:
    from jdq.worker.finetune.model import load_fine_tuned

    return load_fine_tuned(folder, device=device)
