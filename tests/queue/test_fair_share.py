"""Device time is shared among owners: each chunk goes to the owner who has had the least lately, for his share."""

import heapq
import random

import pytest
import redis

from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import CLOCK, Clock
from tests.queue.ledgers import DONE, SPEC, OwnQueue, taken


def had(client: redis.Redis, owner: str, queue: str = "cpu") -> float:
    """Seconds of device time that the owner is charged with, as of the last charge."""
    return float((client.hget(f"jdq:usage:{queue}", owner) or "0").split()[0]) / 1000


def charged(client: redis.Redis, seconds: int) -> str:
    """The entry of an owner who is charged with so much now."""
    now = client.get(CLOCK)
    return f"{1000 * seconds} {int(now or 0)}"


def test_a_second_owner_s_first_chunk_is_the_next_behind_a_thousand_jobs_of_the_first(
    queue: OwnQueue, clock: Clock
) -> None:
    ledger = queue.ledger("w")
    first = [queue.job(owner="a") for _ in range(1000)]
    lease = taken(ledger, first[0])
    clock.pass_s(7)
    second = queue.job(owner="b")
    ledger.commit(lease, DONE)
    assert taken(ledger, first[0]).job == second  # the worker is still on its ticket for the first job
    assert taken(queue.ledger("v"), first[1]).job == first[1]


def test_an_owner_s_jobs_go_in_order_of_submission_to_workers_with_others_tickets(
    queue: OwnQueue, clock: Clock
) -> None:
    other = queue.job(owner="a")
    queue.client.hset("jdq:usage:cpu", "a", charged(queue.client, 99))
    jobs = []
    for _ in range(3):
        clock.pass_s(1)
        jobs.append(queue.job(owner="b"))
    assert [taken(queue.ledger(f"w{number}"), other).job for number in range(4)] == [*jobs, other]


def test_with_one_owner_a_ticket_leads_to_its_own_job_only(queue: OwnQueue) -> None:
    ledger = queue.ledger("w")
    first, second = queue.job(owner="a"), queue.job(owner="a")
    assert taken(ledger, second).job == second
    assert ledger.next(second) is None
    assert taken(ledger, first).job == first


def test_a_lease_says_whether_its_job_had_another_pending_chunk(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("w", 2, owner="a")
    first, second = taken(ledger, job), taken(ledger, job)
    assert (first.more, second.more) == (True, False)
    ledger.release_after_fault(first, "fault")  # and is tried again later
    ledger.release(second, "stop")
    assert not taken(ledger, job).more


def test_a_more_urgent_job_goes_first_whatever_its_owner_has_had(queue: OwnQueue) -> None:
    ledger = queue.ledger("w")
    queue.planned(ledger, 1, owner="a")
    taken(ledger, queue.job(owner="a"))
    urgent = queue.job(owner="a", priority="high")
    normal = queue.job(owner="b")
    assert taken(ledger, normal).job == urgent


def test_of_urgent_jobs_too_that_of_the_owner_who_had_least_goes_first(queue: OwnQueue) -> None:
    ledger = queue.ledger("w")
    taken(ledger, queue.job(owner="a"))
    queue.jobbook.create(SPEC, owner="a", priority="high")
    urgent = queue.job(owner="b", priority="high")
    assert taken(ledger, queue.job(owner="c")).job == urgent


def test_less_urgent_jobs_of_a_poorer_owner_wait(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("w", 2, owner="a")
    taken(ledger, job)
    queue.jobbook.create(SPEC, owner="b", priority="low")
    assert taken(ledger, job).job == job


def test_device_time_on_one_queue_does_not_count_on_the_other(queue: OwnQueue) -> None:
    cpu = queue.ledger("c")
    taken(cpu, queue.job(owner="a"))
    assert (had(queue.client, "a", "cpu"), had(queue.client, "a", "gpu")) == (10, 0)


def test_a_chunk_is_charged_the_device_time_that_its_commit_reports_else_how_long_it_was_held(
    queue: OwnQueue, clock: Clock
) -> None:
    ledger = queue.ledger("w")
    for owner, counts, seconds in (("a", {"device_ms": 2500}, 2.5), ("b", {}, 7), ("c", {"device_ms": 0}, 7)):
        lease = taken(ledger, queue.job(owner=owner))
        clock.pass_s(7)
        ledger.commit(lease, Outcome(counts=counts))
        assert had(queue.client, owner) == pytest.approx(seconds, abs=0.02)


@pytest.mark.parametrize("end", ["release", "fault", "cancel", "fail", "death"])
def test_a_chunk_that_is_not_committed_is_charged_for_how_long_it_was_held(
    queue: OwnQueue, clock: Clock, end: str
) -> None:
    ledger, job = queue.ledger("w"), queue.job(owner="a")
    lease = taken(ledger, job)
    clock.pass_s(3)
    match end:
        case "release":
            ledger.release(lease, "stop")
        case "fault":
            ledger.release_after_fault(lease, "fault")
        case "cancel":
            queue.jobbook.cancel(job)
        case "fail":
            ledger.fail(lease, {"type": "E", "message": "m"})
        case _:
            queue.jobbook.end_worker("w", "expired", "gone")
    assert had(queue.client, "a") == pytest.approx(3, abs=0.02)


def test_the_next_chunk_is_charged_in_advance_what_the_last_one_took_and_a_plan_s_followers_anew(
    queue: OwnQueue, clock: Clock
) -> None:
    ledger, job = queue.ledger("w"), queue.job(owner="a")
    plan = taken(ledger, job)
    clock.pass_s(1)
    ledger.commit(plan, Outcome(follow_up=FollowUpChunks(chunks=3, queue="cpu")))
    queue.client.delete("jdq:usage:cpu")
    lease = taken(ledger, job)
    assert had(queue.client, "a") == 10
    clock.pass_s(4)
    ledger.commit(lease, DONE)
    taken(ledger, job)
    assert had(queue.client, "a") == pytest.approx(8, abs=0.02)


def test_long_work_is_charged_while_it_goes_on(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("w")
    lease = taken(ledger, queue.job(owner="a"))
    for charged in (10, 10, 12, 18):
        assert had(queue.client, "a") == pytest.approx(charged, abs=0.1)
        clock.pass_s(6)
        ledger.renew([(lease, None)])
    ledger.commit(lease, DONE)
    assert had(queue.client, "a") == pytest.approx(24, abs=0.2)


def test_device_time_of_an_hour_ago_counts_half(queue: OwnQueue, clock: Clock) -> None:
    ledger = queue.ledger("w")
    for _ in range(2):
        ledger.commit(taken(ledger, queue.job(owner="a")), Outcome(counts={"device_ms": 40_000}))
        clock.pass_s(3600)
    taken(ledger, queue.job(owner="a"))
    assert had(queue.client, "a") == pytest.approx(40 / 4 + 40 / 2 + 10, abs=0.01)


def test_an_unreadable_charge_counts_as_none(queue: OwnQueue) -> None:
    queue.client.hset("jdq:usage:cpu", "a", "a lot")
    taken(queue.ledger("w"), queue.job(owner="a"))
    assert had(queue.client, "a") == 10


def test_a_job_of_an_earlier_version_has_no_owner_and_is_found_by_its_ticket_and_after_a_reclaim_by_others(
    queue: OwnQueue, clock: Clock
) -> None:
    old, other = queue.job(), queue.job(owner="a")
    queue.client.hdel(f"jdq:job:{old}", "owner")
    queue.client.delete("jdq:pending:cpu:5", "jdq:pending:cpu:5:-")
    held = taken(queue.ledger("w"), old)
    assert held.job == old
    queue.ledger("w").release(held, "stop")
    queue.client.delete("jdq:pending:cpu:5", "jdq:pending:cpu:5:-")
    queue.client.hset("jdq:usage:cpu", "a", charged(queue.client, 99))
    clock.pass_s(10)
    queue.ledger("w").reclaim_expired()
    assert taken(queue.ledger("w"), other).job == old


def test_pending_jobs_are_listed_by_owner_and_no_others(queue: OwnQueue) -> None:
    ledger, job = queue.worked_on("w", 2, owner="a")
    queue.jobbook.create(SPEC, owner="b", after=[job])

    def listed() -> dict[str, list[str]]:
        owners = map(str, queue.client.smembers("jdq:pending:cpu:5"))
        return {owner: list(map(str, queue.client.zrange(f"jdq:pending:cpu:5:{owner}", 0, -1))) for owner in owners}

    assert listed() == {"a": [job]}
    lease = taken(ledger, job)
    assert listed() == {"a": [job]}
    taken(ledger, job)
    assert listed() == {}
    ledger.release_after_fault(lease, "fault")
    assert listed() == {"a": [job]}
    queue.jobbook.cancel(job)
    assert queue.client.keys("jdq:pending:*") == []
    queue.jobbook.retry(job)
    assert listed() == {"a": [job]}
    queue.client.delete(f"jdq:job:{job}:returned")
    queue.client.set(f"jdq:job:{job}:returned", "no sorted set")
    assert ledger.next(job) is None  # and ends as broken
    assert queue.client.keys("jdq:pending:*") == []


class Simulation:
    """Workers that take chunks, hold each for 5 to 15 s of the scripts' clock, and commit it."""

    def __init__(self, ledgers: list[Ledger], jobs: dict[str, str], clock: Clock) -> None:
        """jobs: of many chunks, by owner."""
        self.device_s = dict.fromkeys(jobs, 0.0)
        self._owner_of = {job: owner for owner, job in jobs.items()}
        self._ledgers = ledgers
        self._clock = clock
        self._random = random.Random(5)
        self._now = 0.0
        self._running: list[tuple[float, int, Lease]] = []

    def run(self, chunks: int) -> None:
        """So many chunks are committed; each worker stays on the ticket that it has, of some owner."""
        tickets = [*self._owner_of] * len(self._ledgers)
        for worker in range(len(self._ledgers)):
            self._take(worker, tickets[worker])
        for _ in range(chunks):
            ends, worker, lease = heapq.heappop(self._running)
            self._clock.pass_s(ends - self._now)
            self._now = ends
            self._ledgers[worker].commit(lease, DONE)
            self._take(worker, tickets[worker])

    def _take(self, worker: int, ticket: str) -> None:
        lease = taken(self._ledgers[worker], ticket)
        seconds = self._random.uniform(5, 15)
        self.device_s[self._owner_of[lease.job]] += seconds
        heapq.heappush(self._running, (self._now + seconds, worker, lease))


def test_fifty_workers_share_a_thousand_chunks_among_ten_owners_by_their_shares(queue: OwnQueue, clock: Clock) -> None:
    shares = {f"owner{number}": share for number, share in enumerate((1.0, 1, 1, 2, 2, 2, 3, 3, 5, 0.8))}
    planner = queue.ledger("planner")
    jobs = {owner: queue.planned(planner, 1000, owner=owner) for owner in shares}
    queue.client.delete("jdq:usage:cpu")
    ledgers = [
        Ledger(queue.client, worker=f"w{number}", queue="cpu", lease_s=60, reclaim_s=0, shares=shares)
        for number in range(50)
    ]
    simulation = Simulation(ledgers, jobs, clock)
    simulation.run(1000)
    total = sum(simulation.device_s.values()) / sum(shares.values())
    relative = {owner: simulation.device_s[owner] / total / share for owner, share in shares.items()}
    assert relative == {owner: pytest.approx(1, abs=0.05) for owner in shares}


def test_an_owner_without_a_share_of_his_own_has_that_of_all_others(queue: OwnQueue, clock: Clock) -> None:
    jobs = {owner: queue.job(owner=owner) for owner in "ab"}
    for owner in jobs:
        queue.client.hset("jdq:usage:cpu", owner, charged(queue.client, 8))
    ledger = Ledger(queue.client, worker="w", queue="cpu", lease_s=60, reclaim_s=0, shares={"a": 1, "*": 2})
    assert taken(ledger, jobs["a"]).job == jobs["b"]
