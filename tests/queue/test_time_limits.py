"""A job with a time limit fails when it has run for so long, whoever works on it."""

from __future__ import annotations

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import JobBook
from tests.queue.conftest import SPEC, Clock
from tests.queue.ledgers import DONE, LedgerOf, taken


def test_the_time_from_the_first_lease_counts(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    ledger = ledger_of("w")
    job, _ = jobbook.create(SPEC, time_limit_s=5400)
    unlimited, _ = jobbook.create(SPEC)
    clock.pass_s(6000)  # it waits
    ledger.reclaim_expired()
    lease = taken(ledger, job)
    taken(ledger_of("other"), unlimited)
    clock.pass_s(5399)
    ledger.renew([(lease, None)])
    ledger.reclaim_expired()
    assert jobbook.job(job).state is JobState.RUNNING
    clock.pass_s(1)
    ledger.reclaim_expired()
    found = jobbook.job(job)
    assert (found.state, found.time_limit_s, jobbook.job(unlimited).time_limit_s) == (JobState.FAILED, 5400, None)
    assert found.error
    assert found.error.type == "TimeLimit"
    assert found.error.message == f"it ran for longer than its time limit of 1.5 h\n  try: jdq retry {job}"
    assert ledger.renew([(lease, None)]) == ["lost"]
    assert jobbook.job(unlimited).state is JobState.RUNNING


def test_a_retry_starts_the_time_again(jobbook: JobBook, ledger_of: LedgerOf, clock: Clock) -> None:
    ledger = ledger_of("w")
    job, _ = jobbook.create(SPEC, time_limit_s=60)
    taken(ledger, job)
    clock.pass_s(60)
    ledger.reclaim_expired()
    assert jobbook.job(job).state is JobState.FAILED
    jobbook.retry(job)
    ledger.reclaim_expired()
    lease = taken(ledger, job)
    clock.pass_s(59)
    ledger.reclaim_expired()
    ledger.commit(lease, DONE)
    clock.pass_s(60)
    ledger.reclaim_expired()
    assert jobbook.job(job).state is JobState.SUCCEEDED
