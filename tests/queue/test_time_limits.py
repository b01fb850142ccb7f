"""A job with a time limit fails when it has run for so long, whoever works on it."""

from jdq.worker.queue.contract import JobState
from tests.queue.conftest import Clock
from tests.queue.ledgers import DONE, OwnQueue, taken


def test_the_time_from_the_first_lease_counts(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("w"), queue.job(time_limit_s=5400)
    unlimited = queue.job()
    clock.pass_s(6000)  # it waits
    ledger.reclaim_expired()
    lease = taken(ledger, job)
    taken(queue.ledger("other"), unlimited)
    clock.pass_s(5399)
    ledger.renew([(lease, None)])
    ledger.reclaim_expired()
    assert queue.jobbook.job(job).state is JobState.RUNNING
    clock.pass_s(1)
    ledger.reclaim_expired()
    found = queue.jobbook.job(job)
    assert (found.state, found.time_limit_s, queue.jobbook.job(unlimited).time_limit_s) == (JobState.FAILED, 5400, None)
    assert found.error
    assert found.error.type == "TimeLimit"
    assert found.error.message == f"it ran for longer than its time limit of 1.5 h\n  try: jdq retry {job}"
    assert ledger.renew([(lease, None)]) == ["lost"]
    assert queue.jobbook.job(unlimited).state is JobState.RUNNING


def test_a_retry_starts_the_time_again(queue: OwnQueue, clock: Clock) -> None:
    ledger, job = queue.ledger("w"), queue.job(time_limit_s=60)
    taken(ledger, job)
    clock.pass_s(60)
    ledger.reclaim_expired()
    assert queue.jobbook.job(job).state is JobState.FAILED
    queue.jobbook.retry(job)
    ledger.reclaim_expired()
    lease = taken(ledger, job)
    clock.pass_s(59)
    ledger.reclaim_expired()
    ledger.commit(lease, DONE)
    clock.pass_s(60)
    ledger.reclaim_expired()
    assert queue.jobbook.job(job).state is JobState.SUCCEEDED
