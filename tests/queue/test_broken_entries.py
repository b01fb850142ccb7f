"""Entries that no script of this version wrote: they end their own job and concern no other."""

from collections.abc import Callable

import pytest
import redis

from jdq.worker.queue.contract import JobState
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import Clock
from tests.queue.ledgers import OwnQueue, taken, watched

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
    queue: OwnQueue, clock: Clock, broken: Break
) -> None:
    ledger = queue.ledger("a")
    job, sound = queue.planned(ledger, 2), queue.planned(ledger, 2)
    dependent = queue.job(after=[job])
    taken(ledger, job)
    taken(ledger, sound)
    broken(queue.client, job)
    assert watched(queue.ledger("b"), clock, 60) >= 1
    state, error = queue.client.hmget(f"jdq:job:{job}", "state", "error")
    assert (state, "BrokenJob" in str(error)) == ("failed", True)
    assert taken(ledger, sound).chunk == 1
    assert ledger.next(job) is None
    assert not queue.client.sismember("jdq:open", job)
    assert queue.jobbook.job(dependent).state is JobState.FAILED
    assert not queue.client.exists(f"jdq:job:{job}:dependents")


def test_a_broken_urgent_job_does_not_keep_workers_from_others(queue: OwnQueue) -> None:
    urgent = queue.job(priority="high")
    job = queue.job()
    queue.client.set(f"jdq:job:{urgent}:returned", "text")
    assert taken(queue.ledger("a"), job).job == job
    assert not queue.client.sismember("jdq:open:cpu:3", urgent)


def test_a_job_whose_hash_is_something_else_is_left_alone(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("a")
    job, sound = queue.planned(ledger, 2), queue.planned(ledger, 2)
    taken(ledger, sound)
    queue.client.delete(f"jdq:job:{job}")
    queue.client.set(f"jdq:job:{job}", "text")
    assert watched(ledger, clock, 60) == 1
    assert not queue.client.sismember("jdq:open", job)


def test_one_dependent_that_is_broken_keeps_no_other_from_its_start(queue: OwnQueue) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    dependents = [queue.job(after=[job]) for _ in range(3)]
    queue.client.delete(f"jdq:job:{dependents[1]}:after")
    queue.client.set(f"jdq:job:{dependents[1]}:after", "text")
    tickets = ledger.commit(taken(ledger, job), Outcome()).tickets
    assert sorted(order.job for order in tickets) == sorted([dependents[0], dependents[2]])
    assert not queue.client.exists(f"jdq:job:{job}:dependents")
    assert queue.jobbook.job(job).state is JobState.SUCCEEDED


REFUSED = [
    (Outcome(counts={"n": 1.5}), "the count n is 1.5"),  # type: ignore[dict-item]
    (Outcome(counts={"n": 2**60}), "not a whole number"),
    (Outcome(follow_up=FollowUpChunks(chunks=0, queue="cpu")), "0 follow-up chunks"),
    (Outcome(follow_up=FollowUpChunks(chunks=1.5, queue="cpu")), "1.5 follow-up chunks"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("outcome", "why"), REFUSED)
def test_an_outcome_that_cannot_be_counted_is_refused_before_anything_is_written(
    queue: OwnQueue, outcome: Outcome, why: str
) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    lease = taken(ledger, job)
    with pytest.raises(redis.ResponseError, match=why):
        ledger.commit(lease, outcome)
    assert ledger.renew([(lease, None)]) == ["ok"]
    assert ledger.commit(lease, Outcome(counts={"n": 1})).answer == "last"


@pytest.mark.parametrize("field", ["count:n", "chunks_done", "chunks_total", "next"])
def test_a_count_is_refused_where_the_jobs_own_is_no_number(queue: OwnQueue, field: str) -> None:
    ledger, job = queue.ledger("a"), queue.job()
    lease = taken(ledger, job)
    queue.client.hset(f"jdq:job:{job}", field, "1.5")
    with pytest.raises(redis.ResponseError, match=field):
        ledger.commit(lease, Outcome(counts={"n": 1}))
    assert queue.client.hlen(f"jdq:job:{job}:holders") == 1
