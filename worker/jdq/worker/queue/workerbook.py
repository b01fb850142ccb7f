"""The client's side of the ledger: read the workers, drain them, and end those that are gone."""

from collections.abc import Sequence
from typing import Literal

import redis

from jdq.worker.queue.records import DRAINED, Worker, worker_record
from jdq.worker.queue.scripts import EndProcess, TicketOrder, call


class WorkerBook:
    """The workers, as the ledger in this Redis has them."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def workers(self) -> list[Worker]:
        """All registered workers, by name; those that stopped sending heartbeats as dead."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hgetall("jdq:workers")
        pipe.zrange("jdq:workers:seen", 0, -1, withscores=True)
        pipe.hgetall("jdq:workers:busy")
        pipe.smembers("jdq:workers:drain")
        pipe.hgetall("jdq:workers:sick")
        pipe.hgetall("jdq:workers:speed")
        pipe.hgetall("jdq:workers:drained")
        pipe.hgetall("jdq:workers:texts")
        pipe.hgetall("jdq:workers:tokens")
        pipe.time()
        described, seen, busy, draining, sick, speeds, drained, texts, tokens, (seconds, micros) = pipe.execute()
        last_seen = dict(seen)
        now = seconds + micros / 1e6
        return [
            worker_record(
                name,
                text,
                silent_s=now - last_seen.get(name, 0) / 1000,
                last_seen=last_seen.get(name, 0) / 1000,
                job=busy.get(name),
                draining=name in draining,
                sick=sick.get(name),
                drained=drained.get(name),
                speed=speeds.get(name),
                texts=int(texts.get(name, 0)),
                tokens=int(tokens.get(name, 0)),
            )
            for name, text in sorted(described.items())
        ]

    def drain(self, workers: Sequence[str]) -> None:
        """The workers finish the chunks that they hold and take no others, even after a restart, until `resume`."""
        self._client.hset("jdq:workers:drained", mapping=dict.fromkeys(workers, DRAINED))

    def resume(self, workers: Sequence[str]) -> list[str]:
        """Lets the workers take chunks again; returns the names of those that were drained."""
        drained = self.drained()
        resumed = [name for name in workers if name in drained]
        if resumed:
            self._client.hdel("jdq:workers:drained", *resumed)
        return resumed

    def drained(self) -> list[str]:
        """The names of all drained workers, including those that do not run."""
        return sorted(map(str, self._client.hkeys("jdq:workers:drained")))

    def end_worker(self, worker: str, what: Literal["drain", "expired"], reason: str) -> list[TicketOrder]:
        """Returns the chunks of a worker that is gone; the tickets to send."""
        argument = EndProcess(worker, what, reason)
        return call(self._client, argument, tuple[int, list[TicketOrder]])[1]
