"""A reply that is lost on its way: the client repeats the call, and the repetition changes nothing."""

import pytest
import redis

from jdq.cli.client import Client
from jdq.worker.config import read_config
from jdq.worker.queue.connection import connect
from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.dropping_proxy import DroppingProxy
from tests.queue.ledgers import SPEC


@pytest.fixture
def jobbook(proxy: DroppingProxy) -> JobBook:
    return JobBook(through(proxy))


@pytest.fixture
def ledger(proxy: DroppingProxy) -> Ledger:
    return Ledger(through(proxy, patience_s=20), worker="a", queue="cpu", lease_s=60, reclaim_s=0)


def through(proxy: DroppingProxy, patience_s: float = 0.0) -> redis.Redis:
    url = f"redis+socket://{proxy.path}"
    return connect(read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": url}), patience_s=patience_s)


def test_a_repeated_create_makes_one_job_and_sends_its_tickets(proxy: DroppingProxy, jobbook: JobBook) -> None:
    proxy.drops = 1
    job, tickets = jobbook.create(SPEC)
    assert proxy.drops == 0
    assert [order.job for order in tickets] == [job]
    assert [found.id for found in jobbook.jobs()] == [job]


def test_a_create_that_is_repeated_late_does_not_start_the_job_again(jobbook: JobBook, ledger: Ledger) -> None:
    job, _ = jobbook.create(SPEC)
    lease = ledger.next(job)
    assert lease is not None
    ledger.commit(lease, Outcome())
    assert jobbook.create(SPEC, job=job) == (job, [])
    assert jobbook.job(job).state is JobState.SUCCEEDED


def test_a_repeated_next_gets_the_same_chunk(proxy: DroppingProxy, jobbook: JobBook, ledger: Ledger) -> None:
    job, _ = jobbook.create(SPEC)
    proxy.drops = 2
    lease = ledger.next(job)
    assert proxy.drops == 0
    assert lease is not None
    assert (lease.chunk, lease.attempt, lease.spec) == (0, 1, SPEC)
    assert jobbook.job(job).chunks_leased == 1
    assert ledger.renew([(lease, None)]) == ["ok"]


def test_a_repeated_commit_counts_once_and_says_so(proxy: DroppingProxy, jobbook: JobBook, ledger: Ledger) -> None:
    job, _ = jobbook.create(SPEC)
    dependent, _ = jobbook.create(SPEC, after=[job])
    lease = ledger.next(job)
    assert lease is not None
    proxy.drops = 1
    planned = ledger.commit(lease, Outcome(counts={"n": 2}, follow_up=FollowUpChunks(chunks=1, queue="cpu")))
    assert (planned.answer, [order.job for order in planned.tickets]) == ("done", [job])
    lease = ledger.next(job)
    assert lease is not None
    proxy.drops = 1
    last = ledger.commit(lease, Outcome(counts={"n": 3}))
    assert proxy.drops == 0
    assert (last.answer, [order.job for order in last.tickets]) == ("last", [dependent])
    found = jobbook.job(job)
    assert (found.state, found.chunks_done, found.chunks_total, found.counts) == (JobState.SUCCEEDED, 2, 2, {"n": 5})


def test_a_repeated_cancel_and_a_repeated_retry_succeed(proxy: DroppingProxy, jobbook: JobBook) -> None:
    job, _ = jobbook.create(SPEC)
    proxy.drops = 1
    assert jobbook.cancel(job)
    assert not jobbook.cancel(job)
    proxy.drops = 1
    assert [order.job for order in jobbook.retry(job)] == [job]
    assert proxy.drops == 0
    assert jobbook.job(job).state is JobState.QUEUED


def test_a_repeated_release_and_a_repeated_fault_count_once(
    proxy: DroppingProxy, jobbook: JobBook, ledger: Ledger
) -> None:
    job, _ = jobbook.create(SPEC)
    lease = ledger.next(job)
    assert lease is not None
    proxy.drops = 1
    ledger.release_after_fault(lease, "OSError: a cable")
    assert proxy.drops == 0
    found = jobbook.job(job)
    assert (found.chunks_delayed, len(found.log)) == (1, 1)


def test_a_submitted_job_whose_tickets_are_lost_is_no_error(
    proxy: DroppingProxy, jobbook: JobBook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JDQ_HOME", "/nonexistent")
    monkeypatch.setenv("JDQ_BROKER_URL", f"redis+socket://{proxy.path}")
    proxy.accepts = 1  # the ledger's connection, and none of Celery's
    client = Client()
    job = client.submit(SPEC)
    client.redis.close()
    assert "workers could not be woken and will find the job by themselves" in capsys.readouterr().err
    proxy.accepts = 10
    assert jobbook.job(job).state is JobState.QUEUED
