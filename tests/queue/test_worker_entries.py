"""What the ledger knows of a worker: each change concerns this worker and all of its entries."""

import os
import time

import pytest
import redis

from jdq.worker.queue.ledger import Ledger, Outcome
from tests.queue.conftest import Clock
from tests.queue.ledgers import LedgerOf, OwnQueue, taken

HASHES = ("", ":queue", ":busy", ":idle", ":faults", ":sick", ":speed", ":texts", ":tokens")


@pytest.fixture
def both(client: redis.Redis, ledger_of: LedgerOf) -> tuple[Ledger, Ledger]:
    """Two workers with every entry that there is."""
    for name in ("a", "b"):
        for part in HASHES:
            client.hset(f"jdq:workers{part}", name, "{}")
        client.hset("jdq:workers:replies", mapping={f"{name} next": "{}", f"{name} commit": "{}"})
        client.zadd("jdq:workers:seen", {name: 1})
        client.sadd("jdq:workers:drain", name)
        client.set(f"jdq:gpu:G-{name}", name)
    return ledger_of("a"), ledger_of("b")


def entries(client: redis.Redis, name: str) -> set[str]:
    """Where something of the worker is."""
    found = {part for part in HASHES if client.hexists(f"jdq:workers{part}", name)}
    found |= {what for what in ("next", "commit") if client.hexists("jdq:workers:replies", f"{name} {what}")}
    found |= {"seen"} if client.zscore("jdq:workers:seen", name) is not None else set()
    found |= {"drain"} if client.sismember("jdq:workers:drain", name) else set()
    return found | ({"gpu"} if client.exists(f"jdq:gpu:G-{name}") else set())


ALL = {*HASHES, "next", "commit", "seen", "drain", "gpu"}


def test_a_worker_that_registers_is_neither_draining_nor_busy_nor_sick(
    both: tuple[Ledger, Ledger], client: redis.Redis
) -> None:
    both[0].register()
    assert ALL - entries(client, "a") == {"drain", ":busy", ":sick", ":faults"}
    assert entries(client, "b") == ALL


def test_a_worker_that_recovers_is_not_sick_and_starts_with_no_faults(
    both: tuple[Ledger, Ledger], client: redis.Redis
) -> None:
    both[0].recover()
    assert ALL - entries(client, "a") == {":sick", ":faults"}
    assert entries(client, "b") == ALL


def test_a_worker_that_deregisters_leaves_nothing_behind(both: tuple[Ledger, Ledger], client: redis.Redis) -> None:
    both[0].deregister()
    assert entries(client, "a") == {"gpu"}
    both[0].deregister("G-a")
    assert entries(client, "a") == set()
    assert entries(client, "b") == ALL


def test_a_worker_that_is_quarantined_is_listed_with_the_reason_and_takes_nothing(queue: OwnQueue) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    ledger.quarantine("its numbers are wrong")
    assert ledger.heartbeat({"queue": "cpu"}) == "its numbers are wrong"
    [worker] = queue.jobbook.workers()
    assert (worker.state, worker.reason) == ("sick", "its numbers are wrong")
    assert ledger.next(job) is None
    assert ledger.mark_idle(job) == []
    ledger.recover()
    assert taken(ledger, job).job == job


def test_the_time_of_a_quarantine_is_in_milliseconds(queue: OwnQueue) -> None:
    queue.ledger("a").quarantine("r")
    text = queue.client.hget("jdq:workers:sick", "a") or ""
    assert abs(int(str(text).partition('"since":')[2].partition(",")[0]) - 1000 * time.time()) < 60_000


def test_a_worker_is_told_to_stop_at_its_next_renewal(queue: OwnQueue) -> None:
    ledger, other = queue.ledger("a"), queue.ledger("b")
    leases = []
    for worker in (ledger, other):
        job = queue.job()
        leases.append(taken(worker, job))
    ledger.drain()
    assert ledger.renew([(leases[0], None)]) == ["drain"]
    assert other.renew([(leases[1], None)]) == ["ok"]


def test_a_worker_that_is_not_ready_counts_for_no_queue(queue: OwnQueue) -> None:
    ledger = queue.ledger("a")
    ledger.heartbeat({"queue": "cpu"}, ready=False)
    assert queue.client.hget("jdq:workers:queue", "a") == ""
    ledger.heartbeat({"queue": "cpu"})
    assert queue.client.hget("jdq:workers:queue", "a") == "cpu"


def test_a_process_that_works_on_a_chunk_that_its_worker_lost_is_stray(queue: OwnQueue, clock: Clock) -> None:
    ledger, other = queue.ledger("a"), queue.ledger("b")
    job = queue.job()
    assert not ledger.is_busy()
    assert not ledger.has_stray_process()
    lease = taken(ledger, job)
    assert ledger.is_busy()
    assert not ledger.has_stray_process()
    ledger.release(lease, "lost")
    assert ledger.has_stray_process()
    taken(other, job)
    assert ledger.has_stray_process()
    assert not other.has_stray_process()


def test_the_delay_after_a_fault_doubles_up_to_a_minute(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("a")
    delays = []
    for attempts in (0, 1, 5, 6, 9):
        job = queue.job()
        if attempts:
            trouble = f'{{"attempts":{attempts},"fault":0,"expired":{attempts},"death":0,"workers":{{}},"rows":[]}}'
            queue.client.hset(f"jdq:job:{job}:troubles", "0", trouble)
        ledger.recover()
        lease = taken(ledger, job)
        assert lease.attempt == attempts + 1
        ledger.release_after_fault(lease, "OSError")
        delays.append(queue.client.zscore(f"jdq:job:{job}:delayed", "0") or 0)
    now = int(queue.client.get("test:clock") or 0)
    assert [delay - now for delay in delays] == [1000, 2000, 32_000, 60_000, 60_000]


def test_the_end_of_another_process_of_the_worker_concerns_no_chunk(queue: OwnQueue) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    lease = taken(ledger, job)
    assert ledger.end_process(os.getpid() + 1, "killed by SIGKILL") == (0, [])
    assert ledger.renew([(lease, None)]) == ["ok"]


def test_what_a_chunk_does_not_report_stays_as_it_was(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 2)
    first, second = taken(ledger, job), taken(ledger, job)
    ledger.renew([(first, {"texts": 5})])
    ledger.renew([(first, None)])
    ledger.renew([(first, {})])
    assert queue.jobbook.job(job).live == [{"texts": 5}]
    ledger.commit(first, Outcome(result={"path": "x"}))
    ledger.commit(second, Outcome())
    assert queue.jobbook.job(job).result == {"path": "x"}
