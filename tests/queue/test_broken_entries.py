"""Entries that no script of this version wrote: they end their own job and concern no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import SPEC, Clock
from tests.queue.ledgers import LedgerOf, planned, taken, watched

Break = Callable[[redis.Redis, str], object]

BREAKS: dict[str, Break] = {
    "a lease without a holder": lambda client, job: client.hdel(f"jdq:job:{job}:holders", "1"),
    "a holder of a wrong type": lambda client, job: (
        client.delete(f"jdq:job:{job}:holders"),
        client.set(f"jdq:job:{job}:holders", "text"),
    ),
    "a holder that is no JSON": lambda client, job: client.hset(f"jdq:job:{job}:holders", "1", b"\xff\xfe{"),
    "troubles that are no JSON": lambda client, job: client.hset(f"jdq:job:{job}:troubles", "1", b"\xff"),
    "progress that is no JSON": lambda client, job: client.hset(f"jdq:job:{job}:live", "1", b"\xff"),
    "pending chunks of a wrong type": lambda client, job: client.set(f"jdq:job:{job}:returned", "text"),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_a_broken_job_ends_with_its_reason_and_stops_reclaiming_for_no_other(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, client: redis.Redis, broken: Break
) -> None:
    ledger = ledger_of("a")
    job, sound = planned(jobbook, ledger, 2), planned(jobbook, ledger, 2)
    dependent, _ = jobbook.create(SPEC, after=[job])
    taken(ledger, job)
    taken(ledger, sound)
    broken(client, job)
    assert watched(ledger_of("b"), clock, 60) >= 1
    state, error = client.hmget(f"jdq:job:{job}", "state", "error")
    assert (state, "BrokenJob" in str(error)) == ("failed", True)
    assert taken(ledger, sound).chunk == 1
    assert ledger.next(job) is None
    assert not client.sismember("jdq:open", job)
    assert jobbook.job(dependent).state is JobState.FAILED
    assert not client.exists(f"jdq:job:{job}:dependents")


def test_a_broken_urgent_job_does_not_keep_workers_from_others(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    urgent, _ = jobbook.create(SPEC, priority="high")
    job, _ = jobbook.create(SPEC)
    client.set(f"jdq:job:{urgent}:returned", "text")
    assert taken(ledger_of("a"), job).job == job
    assert not client.sismember("jdq:open:cpu:3", urgent)


def test_a_job_whose_hash_is_something_else_is_left_alone(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, client: redis.Redis
) -> None:
    ledger = ledger_of("a")
    job, sound = planned(jobbook, ledger, 2), planned(jobbook, ledger, 2)
    taken(ledger, sound)
    client.delete(f"jdq:job:{job}")
    client.set(f"jdq:job:{job}", "text")
    assert watched(ledger, clock, 60) == 1
    assert not client.sismember("jdq:open", job)


def test_one_dependent_that_is_broken_keeps_no_other_from_its_start(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    dependents = [jobbook.create(SPEC, after=[job])[0] for _ in range(3)]
    client.delete(f"jdq:job:{dependents[1]}:after")
    client.set(f"jdq:job:{dependents[1]}:after", "text")
    tickets = ledger.commit(taken(ledger, job), Outcome()).tickets
    assert sorted(order.job for order in tickets) == sorted([dependents[0], dependents[2]])
    assert not client.exists(f"jdq:job:{job}:dependents")
    assert jobbook.job(job).state is JobState.SUCCEEDED


REFUSED = [
    (Outcome(counts={"n": 1.5}), "the count n is 1.5"),  # type: ignore[dict-item]
    (Outcome(counts={"n": 2**60}), "not a whole number"),
    (Outcome(follow_up=FollowUpChunks(chunks=0, queue="cpu")), "0 follow-up chunks"),
    (Outcome(follow_up=FollowUpChunks(chunks=1.5, queue="cpu")), "1.5 follow-up chunks"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("outcome", "why"), REFUSED)
def test_an_outcome_that_cannot_be_counted_is_refused_before_anything_is_written(
    jobbook: JobBook, ledger_of: LedgerOf, outcome: Outcome, why: str
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    lease = taken(ledger, job)
    with pytest.raises(redis.ResponseError, match=why):
        ledger.commit(lease, outcome)
    assert ledger.renew([(lease, None)]) == ["ok"]
    assert ledger.commit(lease, Outcome(counts={"n": 1})).answer == "last"


@pytest.mark.parametrize("field", ["count:n", "chunks_done", "chunks_total", "next"])
def test_a_count_is_refused_where_the_jobs_own_is_no_number(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, field: str
) -> None:
    ledger = ledger_of("a")
    job, _ = jobbook.create(SPEC)
    lease = taken(ledger, job)
    client.hset(f"jdq:job:{job}", field, "1.5")
    with pytest.raises(redis.ResponseError, match=field):
        ledger.commit(lease, Outcome(counts={"n": 1}))
    assert client.hlen(f"jdq:job:{job}:holders") == 1
