"""Which tickets the ledger sends again, to whom and how often."""

from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import Clock
from tests.queue.ledgers import OwnQueue, taken


def test_a_lost_ticket_is_sent_again_when_a_worker_is_idle(queue: OwnQueue) -> None:
    ledger = queue.ledger("a")
    ledger.heartbeat({"queue": "cpu"})
    job = queue.job()  # its ticket goes nowhere
    assert [(ticket.job, ticket.count) for ticket in ledger.reclaim_expired()[1]] == [(job, 1)]
    taken(ledger, job)
    assert ledger.reclaim_expired()[1] == []


def test_each_idle_worker_gets_a_ticket_and_no_job_more_than_it_has_chunks(queue: OwnQueue) -> None:
    ledgers = [queue.ledger(name) for name in "abcd"]
    for ledger in ledgers:
        ledger.heartbeat({"queue": "cpu"})
    job = queue.planned(ledgers[0], 3)
    ledgers[0].mark_idle(job)
    assert [ticket.count for ticket in ledgers[0].reclaim_expired()[1]] == [3]


def test_a_worker_without_a_heartbeat_for_fifteen_seconds_is_dead_and_gets_no_ticket(queue: OwnQueue) -> None:
    seconds, _ = queue.client.time()
    for name, silent_s in (("alive", 13), ("dead", 17)):
        queue.ledger(name).heartbeat({"queue": "cpu", "host": "h", "pid": 1, "device": "cpu", "started": 0})
        queue.client.zadd("jdq:workers:seen", {name: (seconds - silent_s) * 1000})
    assert [(worker.name, worker.state) for worker in queue.jobbook.workers()] == [("alive", "idle"), ("dead", "dead")]
    ledger, job = queue.ledger("planner"), queue.job()
    plan = Outcome(follow_up=FollowUpChunks(chunks=5, queue="cpu"))
    assert [order.count for order in ledger.commit(taken(ledger, job), plan).tickets] == [1]
    assert [order.count for order in ledger.reclaim_expired()[1]] == [1]


def test_a_job_that_nobody_takes_from_gets_tickets_at_intervals_that_double(queue: OwnQueue) -> None:
    ledger = queue.ledger("busy elsewhere")
    job = queue.job()
    waits = []
    for _ in range(3):
        assert ledger.reclaim_expired()[1] == []
        queue.client.hset(f"jdq:job:{job}", "repair_at", 0)
        assert [order.job for order in ledger.reclaim_expired()[1]] == [job]
        waits.append(int(queue.client.hget(f"jdq:job:{job}", "repair_wait") or 0))
    assert waits == [20_000, 40_000, 80_000]


def test_a_job_from_which_a_chunk_was_taken_lacks_no_ticket_for_a_while(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.worked_on("a", 9)
    for _ in range(3):
        clock.pass_s(9)
        taken(ledger, job)
        assert ledger.reclaim_expired()[1] == []
    clock.pass_s(10)
    assert [order.count for order in ledger.reclaim_expired()[1]] == [1]


def test_a_worker_that_leaves_a_job_sends_a_ticket_for_its_pending_chunks(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("a", 2)
    lease = taken(ledger, job)
    assert [(order.job, order.count) for order in ledger.mark_idle(job)] == [(job, 1)]
    taken(ledger, job)
    assert ledger.mark_idle(job) == []
    ledger.fail(lease, {"type": "E", "message": "no"})
    assert ledger.mark_idle(job) == []
