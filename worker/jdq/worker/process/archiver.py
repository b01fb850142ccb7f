"""What is done for ended jobs, in a thread of each worker's main process: notices, the archive in the store.

The store may be slow or unreachable, so this is not part of the worker heartbeat. Two workers that do it at the same
time write the same files.
"""

import logging
import threading

import redis

from jdq.store.errors import StoreError
from jdq.worker.process.notices import send_notices
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.archive import lines_key, save
from jdq.worker.queue.contract import OUTPUT, JobState, ShortJob
from jdq.worker.queue.limits import LIMITS, LINES_IN_ALL, LINES_KEPT
from jdq.worker.queue.scripts import Forget, Saved, call

log = logging.getLogger(__name__)

INTERVAL_S = 5.0
SETTLE_MS = 5_000  # after its end a job's workers may still log a line
BATCH = 100
DAY_MS = 86_400_000


class Archiver(threading.Thread):
    """Looks for ended jobs at intervals."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(name="archiver", daemon=True)
        self._runtime = runtime
        self._problem = ""

    def run(self) -> None:
        pause = threading.Event()
        while not pause.wait(INTERVAL_S):
            self._try()

    def _look(self) -> None:
        send_notices(self._runtime.ledger.client, self._runtime.jobbook)
        self.step()

    def _try(self) -> None:
        """Does what is due. What fails is retried the next time, and logged once."""
        try:
            self._look()
            problem = ""
        except (redis.RedisError, StoreError, OSError) as error:
            problem = str(error)
        if problem and problem != self._problem:
            log.warning("ended jobs are not reported or archived: %s", problem)
        self._problem = problem

    def step(self) -> None:
        """Saves the jobs that ended recently, removes old ones from Redis, and limits the log lines of the others."""
        client = self._runtime.ledger.client
        # One worker does it for all; if it dies, another one continues.
        if not client.set("jdq:archiver", self._runtime.worker, nx=True, px=int(0.9 * 1000 * INTERVAL_S)):
            return
        seconds, _ = client.time()
        self._list_earlier(client)
        self._save(client, 1000 * int(seconds) - SETTLE_MS)
        self._archive(client, 1000 * int(seconds) - self._runtime.config.keep_jobs_days * DAY_MS)
        self._trim_lines(client)

    def _list_earlier(self, client: redis.Redis) -> None:
        """Once per installation: earlier versions did not list the jobs that have ended."""
        if client.exists("jdq:archives"):
            return
        ended = {job.id: round(1000 * job.ended) for job in self._runtime.jobbook.jobs() if job.ended}
        for listed in ("jdq:ended", "jdq:unsaved") if ended else ():
            client.zadd(listed, ended)
        client.set("jdq:archives", 1)

    def _save(self, client: redis.Redis, before_ms: float) -> None:
        while jobs := client.zrangebyscore("jdq:unsaved", "-inf", before_ms, start=0, num=BATCH):
            removed = call(client, Forget(tuple(filter(self._is_over, map(str, jobs)))), list[str])
            saved = {str(job): self._save_one(client, str(job)) for job in jobs if job not in removed}
            if not removed and not call(client, Saved(saved), int):
                return  # they have been retried since, or are unusable

    def _is_over(self, job: str) -> bool:
        """Whether the job is a short one whose client has collected the output, so that nobody needs it any more."""
        jobs = self._runtime.jobbook.read([job])
        if not jobs or not isinstance(jobs[0].spec, ShortJob) or jobs[0].state == JobState.FAILED:
            return False
        return not (self._runtime.job_files.folder(job) / f"{OUTPUT}.npy").exists()

    def _save_one(self, client: redis.Redis, job: str) -> int:
        """Saves the job; returns when it ended. One with unusable entries is not archived, and holds up no other."""
        try:
            return save(client, self._runtime.job_files, job)
        except redis.ResponseError as error:
            log.warning("job %s is not archived: %s", job, error)
            for listed in ("jdq:ended", "jdq:unsaved"):
                client.zrem(listed, job)
            return 0

    def _archive(self, client: redis.Redis, before_ms: float) -> None:
        surplus = client.zcard("jdq:ended") - LIMITS.jobs_kept
        jobs = [str(job) for job in client.zrangebyscore("jdq:ended", "-inf", before_ms)]
        jobs = [str(job) for job in client.zrange("jdq:ended", 0, surplus - 1)] if surplus > len(jobs) else jobs
        for i in range(0, len(jobs), BATCH):
            call(client, Forget(tuple(jobs[i : i + BATCH]), archive=True), list[str])

    def _trim_lines(self, client: redis.Redis) -> None:
        jobs = client.smembers("jdq:open")
        if len(jobs) * LINES_KEPT <= LINES_IN_ALL:
            return
        pipe = client.pipeline(transaction=False)
        for job in jobs:
            pipe.xtrim(lines_key(str(job)), maxlen=LINES_IN_ALL // len(jobs), approximate=False)
        pipe.execute()
