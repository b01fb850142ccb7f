"""What each kind of job does with a chunk, and the registry of kinds."""

from typing import Any

from jdq.worker.process.chunk_work import ChunkContext, ChunkWork, S
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import (
    Classify,
    Evaluate,
    Extract,
    FindDuplicates,
    FindLabelErrors,
    FineTune,
    HeadSearch,
    Predict,
    Report,
    Similar,
    TrainHead,
)
from jdq.worker.queue.ledger import Lease


def work_for(lease: Lease, runtime: Runtime) -> ChunkWork[Any, Any]:
    """The work of a leased chunk. A kind's module is imported with the first such job.

    Raises StoreError, ContractError.
    """

    def context(spec: S) -> ChunkContext[S]:
        return ChunkContext(job=lease.job, chunk=lease.chunk, spec=spec, runtime=runtime)

    match lease.spec:
        case Extract() as spec:
            from jdq.worker.jobs.extract import extract_work

            return extract_work(context(spec))
        case TrainHead(search=HeadSearch() as search) as spec:
            from jdq.worker.jobs.search import search_work

            return search_work(context(spec), search)
        case TrainHead() as spec:
            from jdq.worker.jobs.train_head import TrainHeadWork

            return TrainHeadWork(context(spec))
        case FineTune() as spec:
            from jdq.worker.jobs.fine_tune import FineTuneWork

            return FineTuneWork(context(spec))
        case Predict() as spec:
            from jdq.worker.jobs.predict import predict_work

            return predict_work(context(spec))
        case FindDuplicates() as spec:
            from jdq.worker.jobs.find_duplicates import FindDuplicatesWork

            return FindDuplicatesWork(context(spec))
        case FindLabelErrors() as spec:
            from jdq.worker.jobs.find_label_errors import FindLabelErrorsWork

            return FindLabelErrorsWork(context(spec))
        case (Classify() | Evaluate() | Similar() | Report()) as spec:
            from jdq.worker.jobs.short_jobs import ShortWork

            return ShortWork(context(spec))
