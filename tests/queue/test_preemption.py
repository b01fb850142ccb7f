"""An urgent job takes the device of a fine-tune of low priority, which is asked to save a checkpoint and stop."""

from collections.abc import Callable

import pytest
import redis

from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.queue.contract import FineTune, Spec
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Lease, Ledger
from jdq.worker.queue.scripts import Quotas, Verdict
from tests.queue.conftest import Clock
from tests.queue.ledgers import DESCRIPTION, SPEC, OwnQueue, taken

FINE_TUNE = FineTune(dataset="d", version="v", options=FineTuneOptions(encoder="e"))
Worker = Callable[..., Ledger]


@pytest.fixture
def worker(client: redis.Redis, clock: Clock) -> Worker:
    """A live worker of the gpu queue."""

    def make(name: str, max_devices: int = 9) -> Ledger:
        quotas = Quotas(devices={"*": max_devices})
        ledger = Ledger(client, worker=name, queue="gpu", lease_s=60, reclaim_s=0, quotas=quotas)
        ledger.heartbeat(DESCRIPTION)
        return ledger

    return make


def verdict(ledger: Ledger, lease: Lease) -> Verdict:
    [found] = ledger.renew([(lease, {"step": 1})])
    return found


def fine_tune(jobbook: JobBook, ledger: Ledger, priority: str = "low", spec: Spec = FINE_TUNE) -> Lease:
    return taken(ledger, jobbook.create(spec, priority=priority, owner="alice")[0])


def urgent(jobbook: JobBook, owner: str = "bob", after: tuple[str, ...] = ()) -> str:
    return jobbook.create(FINE_TUNE, priority="high", owner=owner, after=after)[0]


def test_a_low_fine_tune_makes_room_and_is_resumed_when_the_urgent_job_has_ended(
    queue: OwnQueue, worker: Worker
) -> None:
    ledger = worker("w")
    lease = fine_tune(queue.jobbook, ledger)
    assert verdict(ledger, lease) == "ok"
    job = urgent(queue.jobbook)
    assert verdict(ledger, lease) == "preempt"
    [order] = ledger.release(lease, "it made room for an urgent job")
    assert order.job == lease.job
    assert taken(ledger, lease.job).job == job
    queue.jobbook.cancel(job)
    again = taken(ledger, lease.job)
    assert (again.job, again.attempt) == (lease.job, 1)
    assert verdict(ledger, again) == "ok"


@pytest.mark.parametrize("priority", ["normal", "high"])
def test_no_other_priority_makes_room(queue: OwnQueue, worker: Worker, priority: str) -> None:
    ledger = worker("w")
    lease = fine_tune(queue.jobbook, ledger, priority)
    urgent(queue.jobbook)
    assert verdict(ledger, lease) == "ok"


def test_no_other_kind_makes_room_because_its_chunks_are_short(queue: OwnQueue, clock: Clock) -> None:
    ledger = Ledger(queue.client, worker="w", queue="cpu", lease_s=60, reclaim_s=0)
    ledger.heartbeat(DESCRIPTION)
    lease = fine_tune(queue.jobbook, ledger, spec=SPEC)
    queue.jobbook.create(SPEC, priority="high")
    assert verdict(ledger, lease) == "ok"


def test_none_makes_room_for_a_job_that_is_not_urgent_or_not_ready(queue: OwnQueue, worker: Worker) -> None:
    ledger = worker("w")
    lease = fine_tune(queue.jobbook, ledger)
    other = queue.jobbook.create(FINE_TUNE, owner="bob")[0]
    urgent(queue.jobbook, after=(other,))
    assert verdict(ledger, lease) == "ok"


def test_none_makes_room_beside_an_idle_worker(queue: OwnQueue, worker: Worker) -> None:
    ledger, other = worker("w"), worker("other")
    lease = fine_tune(queue.jobbook, ledger)
    urgent(queue.jobbook)
    assert verdict(ledger, lease) == "ok"
    fine_tune(queue.jobbook, other, "normal")  # takes the urgent one
    urgent(queue.jobbook)
    assert verdict(ledger, lease) == "preempt"


def test_one_makes_room_for_one_chunk_and_another_if_it_takes_too_long(
    queue: OwnQueue, worker: Worker, clock: Clock
) -> None:
    ledgers = [worker("a"), worker("b")]
    leases = [fine_tune(queue.jobbook, ledger) for ledger in ledgers]
    urgent(queue.jobbook)
    assert [verdict(*each) for each in zip(ledgers, leases, strict=True)] == ["preempt", "ok"]
    clock.pass_s(59)
    for ledger in ledgers:
        ledger.heartbeat(DESCRIPTION)
    assert verdict(ledgers[1], leases[1]) == "ok"
    clock.pass_s(1)
    assert verdict(ledgers[1], leases[1]) == "preempt"


def test_the_next_urgent_job_asks_again(queue: OwnQueue, worker: Worker) -> None:
    ledgers = [worker("a"), worker("b")]
    leases = [fine_tune(queue.jobbook, ledger) for ledger in ledgers]
    for ledger, lease in zip(ledgers, leases, strict=True):
        job = urgent(queue.jobbook)
        assert verdict(ledger, lease) == "preempt"
        ledger.release(lease, "room")
        assert taken(ledger, lease.job).job == job


def test_none_makes_room_for_an_owner_who_has_reached_a_quota(queue: OwnQueue, worker: Worker) -> None:
    ledger, other = worker("w", 1), worker("other", 1)
    lease = fine_tune(queue.jobbook, ledger)
    taken(other, queue.jobbook.create(FINE_TUNE, owner="bob")[0])
    urgent(queue.jobbook, owner="bob")
    assert verdict(ledger, lease) == "ok"
    urgent(queue.jobbook, owner="carol")
    assert verdict(ledger, lease) == "preempt"


def test_a_worker_that_stops_says_so_also_beside_an_urgent_job(queue: OwnQueue, worker: Worker) -> None:
    ledger = worker("w")
    lease = fine_tune(queue.jobbook, ledger)
    urgent(queue.jobbook)
    ledger.drain()
    assert verdict(ledger, lease) == "drain"
