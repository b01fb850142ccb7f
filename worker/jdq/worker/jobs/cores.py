"""How many threads a head's training uses: a small problem is slower on many, and much slower on busy cores."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from jdq.worker.process.runtime import Runtime

# 140 x 384: 0.08 s on one thread; on two threads, beside other programs on two cores, 5 s.
SMALL_BYTES = 32 << 20


@contextmanager
def threads_for(size_bytes: int, *, most: int | None = None) -> Iterator[None]:
    """One thread for less than SMALL_BYTES of float32 features, else at most `most` (default: one per core).

    joblib also uses threads: in a worker's child, which is a daemon, it can start no processes and would use one core.
    """
    from joblib import parallel_config
    from threadpoolctl import threadpool_limits

    most = 1 if size_bytes < SMALL_BYTES else most
    with threadpool_limits(limits=most), parallel_config(backend="threading", n_jobs=most or -1):
        yield


def share_of_cores(runtime: Runtime) -> int:
    """This host's cores per cpu worker, for a search on which all cpu workers work."""
    host = runtime.config.host
    workers = [w for w in runtime.jobbook.workers() if (w.host, w.queue) == (host, "cpu") and w.state != "dead"]
    return max(1, (os.cpu_count() or 1) // max(1, len(workers)))
