"""The ledger with thousands of jobs and hundreds of workers."""

import time

from jdq.worker.queue.ledger import Ledger, Outcome
from tests.queue.conftest import Clock
from tests.queue.ledgers import SPEC, OwnQueue, taken


def test_releasing_many_jobs_beside_many_workers_does_not_block_the_server(queue: OwnQueue) -> None:
    for number in range(400):
        queue.ledger(f"w{number}").heartbeat({"queue": "cpu"})
    first = queue.job()
    for _ in range(1000):
        queue.jobbook.create(SPEC, after=[first])
    ledger = queue.ledger("w0")
    lease = taken(ledger, first)
    began = time.perf_counter()
    assert len(ledger.commit(lease, Outcome()).tickets) == 1000
    assert time.perf_counter() - began < 0.5  # 1.1 s where workers are counted for each job


def test_a_worker_that_is_seen_but_takes_nothing_collects_no_tickets(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("stuck")
    for _ in range(20):
        queue.jobbook.create(SPEC)

    def sent_in(seconds: int) -> int:
        sent = 0
        for _ in range(0, seconds, 60):
            clock.pass_s(60)
            ledger.heartbeat({"queue": "cpu"})
            for order in ledger.reclaim_expired()[1]:
                sent += order.count
                queue.client.lpush("cpu", *["ticket"] * order.count)  # as kombu does with priority 0
        return sent

    assert sent_in(86_400) == 20
    queue.client.ltrim("cpu", 0, 16)  # it takes three, and is stuck again
    assert sent_in(86_400) == 3


def test_a_job_gets_a_ticket_beside_another_that_waits_while_all_workers_are_busy(
    queue: OwnQueue, clock: Clock
) -> None:
    ledger = queue.ledger("busy")
    taken(ledger, queue.job())
    job = queue.job()
    queue.client.lpush("cpu", "ticket")
    clock.pass_s(15)
    ledger.heartbeat({"queue": "cpu"})
    assert [(order.job, order.count) for order in ledger.reclaim_expired()[1]] == [(job, 1)]


def test_a_job_that_no_busy_worker_takes_gets_tickets_at_intervals_that_double(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("busy")
    taken(ledger, queue.job())
    job = queue.job()
    sent = []
    for second in range(0, 3600, 5):
        clock.pass_s(5)
        ledger.heartbeat({"queue": "cpu"})
        sent += [second for order in ledger.reclaim_expired()[1] if order.job == job]
    assert 5 <= len(sent) <= 12
    assert sent[-1] - sent[-2] == 600


def test_each_gpu_is_leased_by_one_worker_which_keeps_it_until_it_is_silent(queue: OwnQueue) -> None:
    a, b, c = queue.ledger("a"), queue.ledger("b"), queue.ledger("c")
    assert [ledger.lease_gpu(["G1", "G2"]) for ledger in (a, b, c)] == ["G1", "G2", None]
    assert [ledger.lease_gpu(["G1", "G2"]) for ledger in (b, a, b)] == ["G2", "G1", "G2"]
    assert 10_000 < int(queue.client.pttl("jdq:gpu:G1")) <= 15_000
    a.deregister("G1")
    assert c.lease_gpu(["G1", "G2"]) == "G1"


def test_a_worker_leaves_the_list_ten_minutes_after_its_last_heartbeat(queue: OwnQueue, clock: Clock) -> None:
    gone, here = queue.ledger("gone"), queue.ledger("here")
    job = queue.job()
    gone.heartbeat({"queue": "cpu"})
    gone.quarantine("a test")
    queue.client.hset("jdq:workers:faults", "gone", 2)
    other = queue.job()
    here.commit(taken(here, job), Outcome())
    queue.client.hset("jdq:workers:busy", "gone", other)
    queue.client.hset("jdq:workers:replies", "gone next", "{}")
    queue.client.hset("jdq:workers:texts", "gone", 5)
    queue.client.hset("jdq:workers:tokens", "gone", 50)
    for _ in range(599 // 29):
        clock.pass_s(29)
        here.reclaim_expired()
    assert queue.client.hexists("jdq:workers", "gone")
    clock.pass_s(21)
    here.heartbeat({"queue": "cpu"})
    here.reclaim_expired()
    for part in ("", ":queue", ":busy", ":faults", ":sick", ":texts", ":tokens"):
        assert not queue.client.hexists(f"jdq:workers{part}", "gone"), part
    assert [worker.name for worker in queue.jobbook.workers()] == ["here"]
    assert queue.client.hexists("jdq:workers:replies", "gone next")


def test_the_last_replies_of_a_worker_are_forgotten_a_day_after_its_last_heartbeat(
    queue: OwnQueue, clock: Clock
) -> None:
    gone, here = queue.ledger("gone"), queue.ledger("here")
    gone.heartbeat({"queue": "cpu"})
    queue.client.hset("jdq:workers:replies", mapping={"gone next": "{}", "gone commit": "{}", "here next": "{}"})
    clock.pass_s(86_399)
    here.reclaim_expired()
    assert queue.client.zscore("jdq:workers:seen", "gone")
    assert len(queue.client.hkeys("jdq:workers:replies")) == 3
    clock.pass_s(5)
    here.heartbeat({"queue": "cpu"})
    here.reclaim_expired()
    assert queue.client.hkeys("jdq:workers:replies") == ["here next"]
    assert queue.client.zrange("jdq:workers:seen", 0, -1) == ["here"]


def test_no_worker_is_forgotten_before_it_could_send_a_heartbeat_on_a_machine_that_slept(
    queue: OwnQueue, clock: Clock
) -> None:
    slow, first = queue.ledger("slow"), queue.ledger("first")
    slow.heartbeat({"queue": "cpu"})
    slow.quarantine("its device is broken")
    clock.pass_s(3600)
    first.reclaim_expired()
    assert slow.heartbeat({"queue": "cpu"}) == "its device is broken"


def test_of_several_reclaims_within_an_interval_one_does_the_work(queue: OwnQueue, clock: Clock) -> None:
    ledger = Ledger(queue.client, worker="a", queue="cpu", lease_s=60, reclaim_s=5)
    ledger.heartbeat({"queue": "cpu"})
    queue.jobbook.create(SPEC)
    counts = []
    for _ in range(6):
        clock.pass_s(2)
        counts.append(len(ledger.reclaim_expired()[1]))
    assert counts == [0, 1, 0, 1, 0, 1]


def test_a_job_keeps_its_last_five_hundred_attempts_with_their_times(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    for number in range(510):
        ledger.release(taken(ledger, job), f"stop {number}")
        clock.pass_s(1)
    log = queue.jobbook.job(job).log
    assert (len(log), log[0]["reason"], log[-1]["reason"]) == (500, "stop 10", "stop 509")
    assert log[-1]["at"] - log[0]["at"] == 499_000
