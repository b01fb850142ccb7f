"""Device time is shared among owners: each chunk goes to the owner who has had the least lately, for his share."""

from __future__ import annotations

import heapq
import random

import pytest
import redis

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import CLOCK, SPEC, Clock
from tests.queue.ledgers import DONE, LedgerOf, taken


def job_of(jobbook: JobBook, ledger: Ledger, owner: str, chunks: int) -> str:
    """A job of this owner whose first chunk is committed and that has this many more."""
    job, _ = jobbook.create(SPEC, owner=owner)
    lease = taken(ledger, job)
    assert lease.job == job
    ledger.commit(lease, Outcome(follow_up=FollowUpChunks(chunks=chunks, queue=ledger.queue)))
    return job


def had(client: redis.Redis, owner: str, queue: str = "cpu") -> float:
    """Seconds of device time that the owner is charged with, as of the last charge."""
    return float((client.hget(f"jdq:usage:{queue}", owner) or "0").split()[0]) / 1000


def charged(client: redis.Redis, seconds: int) -> str:
    """The entry of an owner who is charged with so much now."""
    now = client.get(CLOCK)
    return f"{1000 * seconds} {int(now or 0)}"


def test_a_second_owner_s_first_chunk_is_the_next_behind_a_thousand_jobs_of_the_first(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock
) -> None:
    ledger = ledger_of("w")
    first = [jobbook.create(SPEC, owner="a")[0] for _ in range(1000)]
    lease = taken(ledger, first[0])
    clock.pass_s(7)
    second, _ = jobbook.create(SPEC, owner="b")
    ledger.commit(lease, DONE)
    assert taken(ledger, first[0]).job == second  # the worker is still on its ticket for the first job
    assert taken(ledger_of("v"), first[1]).job == first[1]


def test_an_owner_s_jobs_go_in_order_of_submission_to_workers_with_others_tickets(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock
) -> None:
    other, _ = jobbook.create(SPEC, owner="a")
    client.hset("jdq:usage:cpu", "a", charged(client, 99))
    jobs = []
    for _ in range(3):
        clock.pass_s(1)
        jobs.append(jobbook.create(SPEC, owner="b")[0])
    assert [taken(ledger_of(f"w{number}"), other).job for number in range(4)] == [*jobs, other]


def test_with_one_owner_a_ticket_leads_to_its_own_job_only(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("w")
    first, second = jobbook.create(SPEC, owner="a")[0], jobbook.create(SPEC, owner="a")[0]
    assert taken(ledger, second).job == second
    assert ledger.next(second) is None
    assert taken(ledger, first).job == first


def test_a_lease_says_whether_its_job_had_another_pending_chunk(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("w")
    job = job_of(jobbook, ledger, "a", 2)
    first, second = taken(ledger, job), taken(ledger, job)
    assert (first.more, second.more) == (True, False)
    ledger.release_after_fault(first, "fault")  # and is tried again later
    ledger.release(second, "stop")
    assert not taken(ledger, job).more


def test_a_more_urgent_job_goes_first_whatever_its_owner_has_had(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("w")
    job_of(jobbook, ledger, "a", 1)
    taken(ledger, jobbook.create(SPEC, owner="a")[0])
    urgent, _ = jobbook.create(SPEC, owner="a", priority="high")
    normal, _ = jobbook.create(SPEC, owner="b")
    assert taken(ledger, normal).job == urgent


def test_of_urgent_jobs_too_that_of_the_owner_who_had_least_goes_first(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("w")
    taken(ledger, jobbook.create(SPEC, owner="a")[0])
    jobbook.create(SPEC, owner="a", priority="high")
    urgent, _ = jobbook.create(SPEC, owner="b", priority="high")
    assert taken(ledger, jobbook.create(SPEC, owner="c")[0]).job == urgent


def test_less_urgent_jobs_of_a_poorer_owner_wait(jobbook: JobBook, ledger_of: LedgerOf) -> None:
    ledger = ledger_of("w")
    job = job_of(jobbook, ledger, "a", 2)
    taken(ledger, job)
    jobbook.create(SPEC, owner="b", priority="low")
    assert taken(ledger, job).job == job


def test_device_time_on_one_queue_does_not_count_on_the_other(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    cpu = ledger_of("c")
    taken(cpu, jobbook.create(SPEC, owner="a")[0])
    assert (had(client, "a", "cpu"), had(client, "a", "gpu")) == (10, 0)


def test_a_chunk_is_charged_the_device_time_that_its_commit_reports_else_how_long_it_was_held(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock
) -> None:
    ledger = ledger_of("w")
    for owner, counts, seconds in (("a", {"device_ms": 2500}, 2.5), ("b", {}, 7), ("c", {"device_ms": 0}, 7)):
        lease = taken(ledger, jobbook.create(SPEC, owner=owner)[0])
        clock.pass_s(7)
        ledger.commit(lease, Outcome(counts=counts))
        assert had(client, owner) == pytest.approx(seconds, abs=0.02)


@pytest.mark.parametrize("end", ["release", "fault", "cancel", "fail", "death"])
def test_a_chunk_that_is_not_committed_is_charged_for_how_long_it_was_held(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock, end: str
) -> None:
    ledger = ledger_of("w")
    job, _ = jobbook.create(SPEC, owner="a")
    lease = taken(ledger, job)
    clock.pass_s(3)
    match end:
        case "release":
            ledger.release(lease, "stop")
        case "fault":
            ledger.release_after_fault(lease, "fault")
        case "cancel":
            jobbook.cancel(job)
        case "fail":
            ledger.fail(lease, {"type": "E", "message": "m"})
        case _:
            jobbook.end_worker("w", "expired", "gone")
    assert had(client, "a") == pytest.approx(3, abs=0.02)


def test_the_next_chunk_is_charged_in_advance_what_the_last_one_took_and_a_plan_s_followers_anew(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock
) -> None:
    ledger = ledger_of("w")
    job, _ = jobbook.create(SPEC, owner="a")
    plan = taken(ledger, job)
    clock.pass_s(1)
    ledger.commit(plan, Outcome(follow_up=FollowUpChunks(chunks=3, queue="cpu")))
    client.delete("jdq:usage:cpu")
    lease = taken(ledger, job)
    assert had(client, "a") == 10
    clock.pass_s(4)
    ledger.commit(lease, DONE)
    taken(ledger, job)
    assert had(client, "a") == pytest.approx(8, abs=0.02)


def test_long_work_is_charged_while_it_goes_on(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock
) -> None:
    ledger = ledger_of("w")
    lease = taken(ledger, jobbook.create(SPEC, owner="a")[0])
    for charged in (10, 10, 12, 18):
        assert had(client, "a") == pytest.approx(charged, abs=0.1)
        clock.pass_s(6)
        ledger.renew([(lease, None)])
    ledger.commit(lease, DONE)
    assert had(client, "a") == pytest.approx(24, abs=0.2)


def test_device_time_of_an_hour_ago_counts_half(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock
) -> None:
    ledger = ledger_of("w")
    for _ in range(2):
        ledger.commit(taken(ledger, jobbook.create(SPEC, owner="a")[0]), Outcome(counts={"device_ms": 40_000}))
        clock.pass_s(3600)
    taken(ledger, jobbook.create(SPEC, owner="a")[0])
    assert had(client, "a") == pytest.approx(40 / 4 + 40 / 2 + 10, abs=0.01)


def test_an_unreadable_charge_counts_as_none(jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis) -> None:
    client.hset("jdq:usage:cpu", "a", "a lot")
    taken(ledger_of("w"), jobbook.create(SPEC, owner="a")[0])
    assert had(client, "a") == 10


def test_a_job_of_an_earlier_version_has_no_owner_and_is_found_by_its_ticket_and_after_a_reclaim_by_others(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock
) -> None:
    old, other = jobbook.create(SPEC)[0], jobbook.create(SPEC, owner="a")[0]
    client.hdel(f"jdq:job:{old}", "owner")
    client.delete("jdq:pending:cpu:5", "jdq:pending:cpu:5:-")
    held = taken(ledger_of("w"), old)
    assert held.job == old
    ledger_of("w").release(held, "stop")
    client.delete("jdq:pending:cpu:5", "jdq:pending:cpu:5:-")
    client.hset("jdq:usage:cpu", "a", charged(client, 99))
    clock.pass_s(10)
    ledger_of("w").reclaim_expired()
    assert taken(ledger_of("w"), other).job == old


def test_pending_jobs_are_listed_by_owner_and_no_others(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    ledger = ledger_of("w")
    job = job_of(jobbook, ledger, "a", 2)
    jobbook.create(SPEC, owner="b", after=[job])

    def listed() -> dict[str, list[str]]:
        owners = map(str, client.smembers("jdq:pending:cpu:5"))
        return {owner: list(map(str, client.zrange(f"jdq:pending:cpu:5:{owner}", 0, -1))) for owner in owners}

    assert listed() == {"a": [job]}
    lease = taken(ledger, job)
    assert listed() == {"a": [job]}
    taken(ledger, job)
    assert listed() == {}
    ledger.release_after_fault(lease, "fault")
    assert listed() == {"a": [job]}
    jobbook.cancel(job)
    assert client.keys("jdq:pending:*") == []
    jobbook.retry(job)
    assert listed() == {"a": [job]}
    client.delete(f"jdq:job:{job}:returned")
    client.set(f"jdq:job:{job}:returned", "no sorted set")
    assert ledger.next(job) is None  # and ends as broken
    assert client.keys("jdq:pending:*") == []


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


def test_fifty_workers_share_a_thousand_chunks_among_ten_owners_by_their_shares(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis, clock: Clock
) -> None:
    shares = {f"owner{number}": share for number, share in enumerate((1.0, 1, 1, 2, 2, 2, 3, 3, 5, 0.8))}
    planner = ledger_of("planner")
    jobs = {owner: job_of(jobbook, planner, owner, 1000) for owner in shares}
    client.delete("jdq:usage:cpu")
    ledgers = [
        Ledger(client, worker=f"w{number}", queue="cpu", lease_s=60, reclaim_s=0, shares=shares) for number in range(50)
    ]
    simulation = Simulation(ledgers, jobs, clock)
    simulation.run(1000)
    total = sum(simulation.device_s.values()) / sum(shares.values())
    relative = {owner: simulation.device_s[owner] / total / share for owner, share in shares.items()}
    assert relative == {owner: pytest.approx(1, abs=0.05) for owner in shares}


def test_an_owner_without_a_share_of_his_own_has_that_of_all_others(
    jobbook: JobBook, client: redis.Redis, clock: Clock
) -> None:
    jobs = {owner: jobbook.create(SPEC, owner=owner)[0] for owner in "ab"}
    for owner in jobs:
        client.hset("jdq:usage:cpu", owner, charged(client, 8))
    ledger = Ledger(client, worker="w", queue="cpu", lease_s=60, reclaim_s=0, shares={"a": 1, "*": 2})
    assert taken(ledger, jobs["a"]).job == jobs["b"]
