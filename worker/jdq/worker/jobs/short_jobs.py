"""Short jobs, for which a client waits: one chunk, whose output is bytes, with a head or model that stays loaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jdq.store.store import Store
from jdq.worker.heads.certainty import Requested
from jdq.worker.jobs.classifier import Classifier, load_classifier
from jdq.worker.jobs.evaluate import evaluate
from jdq.worker.jobs.learnt import learnt_notes
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import OUTPUT, TEXTS, Classify, Evaluate, Report, ShortJob, Similar
from jdq.worker.queue.ledger import Outcome

# Enough for full batches; a cancelled job stops after as many texts.
BLOCK_TEXTS = 256


@dataclass(frozen=True, slots=True)
class ShortWork:
    """Classifies, evaluates, finds similar rows, or writes a report."""

    context: ChunkContext[ShortJob]

    def prepare(self) -> None:
        """Does nothing, because what must be loaded goes to the device."""

    def compute(self, prepared: None, held: HeldLease) -> bytes:
        """The output. Raises UnknownTrained, StoreError, HeadError, FineTuneError, EncoderError."""
        spec, runtime = self.context.spec, self.context.runtime
        match spec:
            case Report():
                from jdq.worker.jobs.report import page_of

                return page_of(runtime.store, spec.head or spec.model or spec.table or "", self._device).encode()
            case Evaluate():
                version = runtime.version(spec.dataset, spec.version)
                learnt = learnt_notes(runtime.store, spec.head, spec.model, version.keys())
                measured = evaluate(self._classifier(), version, spec.label_column, spec.certain)
                return msgspec.json.encode(measured | {"notes": [*learnt, *measured["notes"]]})
            case Similar():
                return msgspec.json.encode(self._similar(spec))
            case Classify():
                return msgspec.json.encode(list(self._predictions(spec.certain, held)))

    def publish(self, output: bytes) -> Outcome:
        """Leaves the output for the client."""
        self.context.runtime.job_files.put_array(self.context.job, OUTPUT, np.frombuffer(output, dtype=np.uint8))
        return Outcome()

    def _similar(self, spec: Similar) -> list[dict[str, Any]]:
        from jdq.worker.jobs.similar import similar_rows

        runtime = self.context.runtime
        (text,) = runtime.job_files.get_json(self.context.job, TEXTS)[TEXTS]
        version = runtime.version(spec.dataset, spec.version)
        return similar_rows(runtime.store, version, text, space=spec.space, k=spec.k, device=self._device)

    @property
    def _device(self) -> str:
        return device_of(self.context.runtime.config, self.context.runtime.queue)

    def _classifier(self) -> Classifier:
        spec = self.context.spec
        return _loaded(self.context.runtime.store.root, spec.head, spec.model, self._device)

    def _predictions(self, certain: Requested, held: HeldLease) -> Iterator[dict[str, Any]]:
        texts = self.context.runtime.job_files.get_json(self.context.job, TEXTS)[TEXTS]
        classifier = self._classifier()
        for start in range(0, len(texts), BLOCK_TEXTS):
            held.report(step=start, steps=len(texts))
            yield from classifier.predictions(texts[start : start + BLOCK_TEXTS], certain)


@lru_cache(maxsize=2)
def _loaded(root: Path, head: str | None, model: str | None, device: str) -> Classifier:
    return load_classifier(Store(root), head, model, device)
