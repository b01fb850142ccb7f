"""A drained worker takes no chunk, also after it was restarted, until it is resumed."""

import pytest

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from tests.queue.ledgers import LedgerOf, OwnQueue, taken


@pytest.fixture
def a(ledger_of: LedgerOf) -> Ledger:
    """A worker that lives."""
    ledger = ledger_of("a")
    ledger.heartbeat({"queue": "cpu"})
    return ledger


def state_of(jobbook: JobBook, name: str) -> tuple[str, str | None]:
    [worker] = [worker for worker in jobbook.workers() if worker.name == name]
    return worker.state, worker.reason


def test_a_drained_worker_commits_the_chunk_that_it_has_and_gets_no_other(queue: OwnQueue, a: Ledger) -> None:
    job = queue.planned(a, 3)
    lease = taken(a, job)
    assert not a.is_drained()
    queue.jobbook.drain(["a"])
    assert a.is_drained()
    assert state_of(queue.jobbook, "a") == ("drained", None)
    assert a.renew([(lease, None)]) == ["ok"]
    assert a.commit(lease, Outcome()).answer == "done"
    assert a.next(job) is None
    assert a.mark_idle(job) == []  # a ticket would bring it back, again and again
    assert taken(queue.ledger("b"), job).chunk == 2


def test_a_drained_worker_counts_for_nothing_among_its_queue_s_workers(queue: OwnQueue, a: Ledger) -> None:
    queue.jobbook.drain(["a"])
    a.heartbeat({"queue": "cpu"})
    assert queue.client.hget("jdq:workers:queue", "a") == ""
    assert queue.jobbook.resume(["a", "b"]) == ["a"]
    a.heartbeat({"queue": "cpu"})
    assert queue.client.hget("jdq:workers:queue", "a") == "cpu"


def test_an_order_to_drain_survives_the_worker_s_restart_until_it_is_resumed(queue: OwnQueue, a: Ledger) -> None:
    queue.jobbook.drain(["a", "b"])
    a.step_back("its own reason")  # does not replace the order
    a.deregister()
    a.register()
    a.heartbeat({"queue": "cpu"})
    assert state_of(queue.jobbook, "a") == ("drained", None)
    assert queue.jobbook.drained() == ["a", "b"]
    assert queue.jobbook.resume(["a"]) == ["a"]
    assert state_of(queue.jobbook, "a") == ("idle", None)
    assert queue.jobbook.drained() == ["b"]


@pytest.mark.parametrize("ends", ["register", "deregister"])
def test_a_worker_that_stepped_back_says_why_and_comes_back_with_its_restart(
    queue: OwnQueue, a: Ledger, ends: str
) -> None:
    a.step_back("others leave 3 GiB")
    assert state_of(queue.jobbook, "a") == ("drained", "others leave 3 GiB")
    getattr(a, ends)()
    assert not a.is_drained()
