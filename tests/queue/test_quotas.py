"""Quotas: how many workers of a queue an owner has at the same time, and how many of them for fine-tunes."""

from collections.abc import Callable

import pytest
import redis

from jdq.cli.jobs.progress import state_text
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.queue.contract import FineTune, Queue, Spec
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from jdq.worker.queue.scripts import Quotas
from tests.queue.conftest import CLOCK, Clock
from tests.queue.ledgers import SPEC, OwnQueue, taken

FINE_TUNE = FineTune(dataset="d", version="v", options=FineTuneOptions(encoder="e"))
WorkerOf = Callable[..., Ledger]


@pytest.fixture
def worker_of(client: redis.Redis, clock: Clock) -> WorkerOf:
    """Live workers of a name, a queue and quotas."""

    def make(name: str, quotas: Quotas, queue: Queue = "cpu") -> Ledger:
        ledger = Ledger(client, worker=name, queue=queue, lease_s=60, reclaim_s=0, quotas=quotas)
        ledger.heartbeat({})
        return ledger

    return make


TWO = Quotas(devices={"alice": 2, "*": 1})


def test_an_owner_has_no_more_devices_than_the_quota_and_those_without_one_that_of_all_others(
    queue: OwnQueue, worker_of: WorkerOf
) -> None:
    for owner, most in (("alice", 2), ("bob", 1), ("carl", 1)):
        jobs = [queue.job(owner=owner) for _ in range(3)]
        leased = [worker_of(f"{owner}{number}", TWO).next(job) for number, job in enumerate(jobs)]
        assert [lease is not None for lease in leased] == [True] * most + [False] * (3 - most)


def test_a_job_that_is_held_back_says_why_until_it_is_leased(queue: OwnQueue, worker_of: WorkerOf) -> None:
    first, second = (queue.job(owner="bob") for _ in range(2))
    a, b = worker_of("a", TWO), worker_of("b", TWO)
    lease = taken(a, first)
    assert b.next(second) is None
    assert state_text(queue.jobbook.job(second)) == "queued (bob has 1 of 1 devices)"
    a.commit(lease, Outcome())
    taken(a, second)
    assert (queue.jobbook.job(second).held_back, state_text(queue.jobbook.job(second))) == (None, "running")


def test_a_retried_job_is_not_held_back_before_a_worker_has_asked(queue: OwnQueue, worker_of: WorkerOf) -> None:
    first, second = (queue.job(owner="bob") for _ in range(2))
    taken(worker_of("a", TWO), first)
    worker_of("b", TWO).next(second)
    queue.jobbook.cancel(second)
    assert state_text(queue.jobbook.job(second)) == "cancelled"
    queue.jobbook.retry(second)
    assert state_text(queue.jobbook.job(second)) == "queued"


def test_the_worker_that_makes_room_orders_a_ticket_for_a_job_that_was_held_back(
    queue: OwnQueue, worker_of: WorkerOf
) -> None:
    first, second, third = (queue.job(owner="bob") for _ in range(3))
    a, b = worker_of("a", TWO), worker_of("b", TWO)
    lease = taken(a, first)
    assert b.next(third) is None
    assert b.mark_idle(third) == []  # a ticket would bring it back, again and again
    a.commit(lease, Outcome())
    assert [order.job for order in a.mark_idle(first)] == [third]  # the second still has its own
    assert a.next(second) is not None
    assert b.mark_idle(first) == []


def test_a_worker_that_is_gone_or_of_another_queue_does_not_count(
    queue: OwnQueue, worker_of: WorkerOf, clock: Clock
) -> None:
    tuning, _ = queue.jobbook.create(FINE_TUNE, owner="bob")
    taken(worker_of("gpu", TWO, "gpu"), tuning)
    first, second = (queue.job(owner="bob") for _ in range(2))
    taken(worker_of("a", TWO), first)
    clock.pass_s(14)
    assert worker_of("b", TWO).next(second) is None
    clock.pass_s(2)
    taken(worker_of("b", TWO), second)


def test_an_owner_s_fine_tunes_have_a_quota_of_their_own(queue: OwnQueue, worker_of: WorkerOf) -> None:
    one = Quotas(fine_tunes={"*": 1})
    first, second = (queue.jobbook.create(FINE_TUNE, owner="bob")[0] for _ in range(2))
    other, _ = queue.jobbook.create(FINE_TUNE, owner="alice")
    taken(worker_of("a", one, "gpu"), first)
    assert taken(worker_of("b", one, "gpu"), second).job == other  # she has had less
    assert worker_of("c", one, "gpu").next(second) is None
    assert state_text(queue.jobbook.job(second)) == "queued (bob has 1 of 1 fine-tunes)"


def test_fine_tunes_do_not_hold_back_other_jobs(queue: OwnQueue, worker_of: WorkerOf) -> None:
    one = Quotas(fine_tunes={"*": 1})
    taken(worker_of("a", one, "gpu"), queue.jobbook.create(FINE_TUNE, owner="bob")[0])
    job = queue.job(owner="bob")
    queue.client.hset(f"jdq:job:{job}", "queue", "gpu")
    taken(worker_of("b", one, "gpu"), job)


def test_an_owner_at_the_quota_holds_up_no_one_who_has_had_more(queue: OwnQueue, worker_of: WorkerOf) -> None:
    a, b, c = (worker_of(name, Quotas(devices={"bob": 1})) for name in "abc")
    bob = [queue.job(owner="bob") for _ in range(2)]
    rich = [queue.job(owner="rich") for _ in range(2)]
    assert taken(a, bob[0]).job == bob[0]
    assert taken(b, rich[0]).job == rich[0]
    assert taken(c, rich[1]).job == rich[1]


@pytest.mark.parametrize(
    ("spec", "quotas", "command"),
    [(FINE_TUNE, Quotas(fine_tunes={"*": 1}), "zscore"), (SPEC, Quotas(devices={"bob": 1}), "exists")],
)
def test_a_hundred_jobs_that_are_held_back_do_not_make_every_call_slow(
    jobbook: JobBook, worker_of: WorkerOf, client: redis.Redis, spec: Spec, quotas: Quotas, command: str
) -> None:
    queue = spec.first_queue
    taken(worker_of("busy", quotas, queue), jobbook.create(spec, owner="bob")[0])
    client.hdel(f"jdq:usage:{queue}", "bob")  # he goes first
    for _ in range(100):
        jobbook.create(spec, owner="bob")
    rich, _ = jobbook.create(spec, owner="rich")
    client.hset(f"jdq:usage:{queue}", "rich", f"99000 {int(client.get(CLOCK) or 0)}")
    worker = worker_of("w", quotas, queue)
    client.config_resetstat()
    assert taken(worker, rich).job == rich
    assert client.info("commandstats")[f"cmdstat_{command}"]["calls"] < 20
