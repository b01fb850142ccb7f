"""The ledger with thousands of jobs and hundreds of workers."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from tests.queue.conftest import SPEC, Clock
from tests.queue.test_ledger import taken

LedgerOf = Callable[..., Ledger]


def test_releasing_many_jobs_beside_many_workers_does_not_block_the_server(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    for number in range(400):
        ledger_of(f"w{number}").heartbeat({"queue": "cpu"})
    first, _ = jobbook.create(SPEC)
    for _ in range(1000):
        jobbook.create(SPEC, after=[first])
    ledger = ledger_of("w0")
    lease = taken(ledger, first)
    began = time.perf_counter()
    assert len(ledger.commit(lease, Outcome()).tickets) == 1000
    assert time.perf_counter() - began < 0.5  # 1.1 s where workers are counted for each job


def test_a_worker_that_is_seen_but_takes_nothing_collects_no_tickets(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, client: redis.Redis
) -> None:
    ledger = ledger_of("stuck")
    for _ in range(20):
        jobbook.create(SPEC)

    def sent_in(seconds: int) -> int:
        sent = 0
        for _ in range(0, seconds, 60):
            clock.pass_s(60)
            ledger.heartbeat({"queue": "cpu"})
            for order in ledger.reclaim_expired()[1]:
                sent += order.count
                client.lpush("cpu", *["ticket"] * order.count)  # as kombu does with priority 0
        return sent

    assert sent_in(86_400) == 20
    client.ltrim("cpu", 0, 16)  # it takes three, and is stuck again
    assert sent_in(86_400) == 3


def test_a_job_gets_a_ticket_beside_another_that_waits_while_all_workers_are_busy(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, client: redis.Redis
) -> None:
    ledger = ledger_of("busy")
    taken(ledger, jobbook.create(SPEC)[0])
    job, _ = jobbook.create(SPEC)
    client.lpush("cpu", "ticket")
    clock.pass_s(15)
    ledger.heartbeat({"queue": "cpu"})
    assert [(order.job, order.count) for order in ledger.reclaim_expired()[1]] == [(job, 1)]


def test_a_job_that_no_busy_worker_takes_gets_tickets_at_intervals_that_double(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("busy")
    taken(ledger, jobbook.create(SPEC)[0])
    job, _ = jobbook.create(SPEC)
    sent = []
    for second in range(0, 3600, 5):
        clock.pass_s(5)
        ledger.heartbeat({"queue": "cpu"})
        sent += [second for order in ledger.reclaim_expired()[1] if order.job == job]
    assert 5 <= len(sent) <= 12
    assert sent[-1] - sent[-2] == 600


def test_each_gpu_is_leased_by_one_worker_which_keeps_it_until_it_is_silent(
    ledger_of: LedgerOf, client: redis.Redis
) -> None:
    a, b, c = ledger_of("a"), ledger_of("b"), ledger_of("c")
    assert [ledger.lease_gpu(["G1", "G2"]) for ledger in (a, b, c)] == ["G1", "G2", None]
    assert [ledger.lease_gpu(["G1", "G2"]) for ledger in (b, a, b)] == ["G2", "G1", "G2"]
    assert 10_000 < int(client.pttl("jdq:gpu:G1")) <= 15_000
    a.deregister("G1")
    assert c.lease_gpu(["G1", "G2"]) == "G1"


def test_a_worker_leaves_the_list_ten_minutes_after_its_last_heartbeat(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, client: redis.Redis
) -> None:
    gone, here = ledger_of("gone"), ledger_of("here")
    job, _ = jobbook.create(SPEC)
    gone.heartbeat({"queue": "cpu"})
    gone.quarantine("a test")
    client.hset("jdq:workers:faults", "gone", 2)
    other, _ = jobbook.create(SPEC)
    here.commit(taken(here, job), Outcome())
    client.hset("jdq:workers:busy", "gone", other)
    client.hset("jdq:workers:replies", "gone next", "{}")
    client.hset("jdq:workers:texts", "gone", 5)
    client.hset("jdq:workers:tokens", "gone", 50)
    for _ in range(599 // 29):
        clock.pass_s(29)
        here.reclaim_expired()
    assert client.hexists("jdq:workers", "gone")
    clock.pass_s(21)
    here.heartbeat({"queue": "cpu"})
    here.reclaim_expired()
    for part in ("", ":queue", ":busy", ":faults", ":sick", ":texts", ":tokens"):
        assert not client.hexists(f"jdq:workers{part}", "gone"), part
    assert [worker.name for worker in jobbook.workers()] == ["here"]
    assert client.hexists("jdq:workers:replies", "gone next")


def test_the_last_replies_of_a_worker_are_forgotten_a_day_after_its_last_heartbeat(
    ledger_of: LedgerOf, clock: Clock, client: redis.Redis
) -> None:
    gone, here = ledger_of("gone"), ledger_of("here")
    gone.heartbeat({"queue": "cpu"})
    client.hset("jdq:workers:replies", mapping={"gone next": "{}", "gone commit": "{}", "here next": "{}"})
    clock.pass_s(86_399)
    here.reclaim_expired()
    assert client.zscore("jdq:workers:seen", "gone")
    assert len(client.hkeys("jdq:workers:replies")) == 3
    clock.pass_s(5)
    here.heartbeat({"queue": "cpu"})
    here.reclaim_expired()
    assert client.hkeys("jdq:workers:replies") == ["here next"]
    assert client.zrange("jdq:workers:seen", 0, -1) == ["here"]


def test_no_worker_is_forgotten_before_it_could_send_a_heartbeat_on_a_machine_that_slept(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    slow, first = ledger_of("slow"), ledger_of("first")
    slow.heartbeat({"queue": "cpu"})
    slow.quarantine("its device is broken")
    clock.pass_s(3600)
    first.reclaim_expired()
    assert slow.heartbeat({"queue": "cpu"}) == "its device is broken"


def test_of_several_reclaims_within_an_interval_one_does_the_work(
    jobbook: JobBook, client: redis.Redis, clock: Clock
) -> None:
    ledger = Ledger(client, worker="a", queue="cpu", lease_s=60, reclaim_s=5)
    ledger.heartbeat({"queue": "cpu"})
    jobbook.create(SPEC)
    counts = []
    for _ in range(6):
        clock.pass_s(2)
        counts.append(len(ledger.reclaim_expired()[1]))
    assert counts == [0, 1, 0, 1, 0, 1]


def test_a_job_keeps_its_last_five_hundred_attempts_with_their_times(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    for number in range(510):
        ledger.release(taken(ledger, job), f"stop {number}")
        clock.pass_s(1)
    log = jobbook.job(job).log
    assert (len(log), log[0]["reason"], log[-1]["reason"]) == (500, "stop 10", "stop 509")
    assert log[-1]["at"] - log[0]["at"] == 499_000
