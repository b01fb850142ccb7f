"""The trials of a search let the owner's plans and short jobs go first."""

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.ledgers import DONE, SPEC, OwnQueue, taken


def searched(jobbook: JobBook, ledger: Ledger, owner: str = "-") -> str:
    """A search with two trials and a closing chunk, which is planned."""
    job, _ = jobbook.create(SPEC, owner=owner)
    lease = taken(ledger, job)
    assert lease.job == job
    ledger.commit(lease, Outcome(follow_up=FollowUpChunks(chunks=2, queue="cpu", closing="cpu", yields=True)))
    return job


def test_a_later_job_goes_before_the_trials_but_not_before_the_closing_chunk(queue: OwnQueue) -> None:
    ledger = queue.ledger("w")
    search = searched(queue.jobbook, ledger)
    first = taken(ledger, search)
    assert (first.job, first.chunk) == (search, 1)
    short = queue.job()
    assert taken(ledger, search).job == short
    second = taken(ledger, search)
    assert (second.job, second.chunk) == (search, 2)
    ledger.commit(first, DONE)
    ledger.commit(second, DONE)
    queue.jobbook.create(SPEC)
    closing = taken(ledger, search)
    assert (closing.job, closing.chunk) == (search, 3)


def test_two_searches_do_not_wait_for_each_other(queue: OwnQueue) -> None:
    ledger = queue.ledger("w")
    one, other = searched(queue.jobbook, ledger), searched(queue.jobbook, ledger)
    assert taken(ledger, other).job == other
    assert taken(ledger, one).job == one


def test_of_an_owner_who_had_less_the_short_job_goes_first(queue: OwnQueue) -> None:
    ledger = queue.ledger("w")
    search = searched(queue.jobbook, ledger, "alice")
    short = queue.job(owner="alice")
    mine = queue.job(owner="bob")
    ledger.client.hset("jdq:usage:cpu", "bob", f"9999999 {10**13}")
    assert [taken(ledger, mine).job for _ in range(2)] == [short, search]
