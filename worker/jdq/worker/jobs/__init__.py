"""What each kind of job does with a chunk."""

from __future__ import annotations

from functools import partial

from jdq.worker.jobs.deferred import Deferred
from jdq.worker.process.chunk_loop import ChunkWork
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Extract, FineTune, Predict, TrainHead
from jdq.worker.queue.ledger import Lease


def work_for(lease: Lease, runtime: Runtime) -> ChunkWork:
    """The work that a leased chunk asks for. A job's modules are imported when the first such job comes."""
    match lease.spec:
        case Extract():
            if lease.chunk == 0:
                from jdq.worker.jobs.plan import Plan

                return Plan(lease.job, lease.spec, runtime)
            from jdq.worker.jobs.extract import ExtractChunk

            return ExtractChunk(lease.job, lease.chunk, lease.spec, runtime)
        case TrainHead(search=search):
            if search is None:
                from jdq.worker.jobs.train_head import TrainHeadWork

                return TrainHeadWork(lease.job, lease.spec, runtime)
            from jdq.worker.jobs.search import search_work

            return Deferred(partial(search_work, lease.job, lease.chunk, lease.spec, search, runtime))
        case FineTune():
            from jdq.worker.jobs.fine_tune import FineTuneWork

            return FineTuneWork(lease.job, lease.spec, runtime)
        case Predict():
            from jdq.worker.jobs.predict import predict_work

            return Deferred(partial(predict_work, lease.job, lease.chunk, lease.spec, runtime))
