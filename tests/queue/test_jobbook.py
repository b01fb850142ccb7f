"""The client's side of the ledger: what it reports of jobs and workers, and the errors that name them."""

import re
import time

import pytest

from jdq.worker.queue.archive import lines_key
from jdq.worker.queue.contract import JobState, encode_spec
from jdq.worker.queue.jobbook import DependencyEnded, JobBook, NotRetried, UnknownJob, new_job_id
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.records import Worker
from tests.queue.conftest import CLOCK, Clock
from tests.queue.ledgers import SPEC, OwnQueue, taken

DESCRIPTION = {
    "queue": "gpu",
    "host": "rack7",
    "pid": 41,
    "device": "cuda:0",
    "started": 12.5,
    "version": "0.9",
    "protocol": 3,
}


def test_a_job_id_is_its_kind_and_eight_characters_that_cannot_be_confused() -> None:
    ids = {new_job_id("extract") for _ in range(300)}
    assert len(ids) == 300
    assert all(re.fullmatch("extract-[2-9a-hjkmnp-z]{8}", job) for job in ids)
    assert lines_key("extract-a") == "jdq:job:extract-a:lines"


def test_a_new_job_is_queued_with_what_was_asked_for(queue: OwnQueue) -> None:
    job, tickets = queue.jobbook.create(SPEC, priority="high", job="train-head-mine")
    assert job == "train-head-mine"
    assert [(order.job, order.queue, order.count, order.priority) for order in tickets] == [(job, "cpu", 1, 3)]
    assert queue.client.hget(f"jdq:job:{job}", "spec") == encode_spec(SPEC)
    found = queue.jobbook.job(job)
    assert (found.id, found.kind, found.state, found.queue) == (job, "train-head", JobState.QUEUED, "cpu")
    assert (found.spec, found.waits_for, found.counts, found.live, found.workers, found.log) == (
        SPEC,
        [],
        {},
        [],
        [],
        [],
    )
    assert (found.chunks_done, found.chunks_total, found.chunks_leased, found.chunks_delayed) == (0, 1, 0, 0)
    assert (found.started, found.ended, found.wall_s, found.result, found.error) == (None, None, None, None, None)
    assert 0 <= found.read_at - found.created < 5
    normal, tickets = queue.jobbook.create(SPEC)
    assert normal.startswith("train-head-")
    assert tickets[0].priority == 5


def test_a_running_job_names_its_workers_and_its_times(queue: OwnQueue, clock: Clock) -> None:
    job = queue.job()
    lease = taken(queue.ledger("w"), job)
    running = queue.jobbook.job(job)
    assert (running.state, running.workers, running.chunks_leased) == (JobState.RUNNING, ["w"], 1)
    clock.pass_s(4)
    queue.ledger("w").commit(lease, Outcome(counts={"texts": 3}, result={"f1": 0.5}))
    ended = queue.jobbook.job(job)
    assert ended.started is not None
    assert ended.ended is not None
    assert (ended.ended - ended.started, ended.wall_s) == (4, 4)
    assert (ended.counts, ended.result, ended.chunks_done) == ({"texts": 3}, {"f1": 0.5}, 1)


def test_jobs_are_listed_newest_first_and_since_a_time(queue: OwnQueue, clock: Clock) -> None:
    now = time.time()
    old = queue.job()
    clock.pass_s(100)
    new = queue.job()
    assert queue.jobbook.ids() == [new, old]
    assert [job.id for job in queue.jobbook.jobs()] == [new, old]
    assert queue.jobbook.ids(since=now + 50) == [new]
    assert [job.id for job in queue.jobbook.jobs(since=now + 50)] == [new]
    assert queue.jobbook.jobs(since=now + 200) == []


def test_a_job_that_is_listed_but_gone_is_left_out_and_the_others_keep_their_entries(queue: OwnQueue) -> None:
    first, gone, last = (queue.job() for _ in range(3))
    taken(queue.ledger("w"), last)
    queue.client.delete(f"jdq:job:{gone}")
    assert {job.id: job.workers for job in queue.jobbook.jobs()} == {first: [], last: ["w"]}


def test_errors_name_the_job_that_they_are_about(queue: OwnQueue) -> None:
    job = queue.job()
    waiting = queue.job(after=[job])
    for call in (queue.jobbook.job, queue.jobbook.cancel, queue.jobbook.retry):
        with pytest.raises(UnknownJob, match=r"^extract-nosuch$"):
            call("extract-nosuch")
    with pytest.raises(UnknownJob, match=r"^extract-nosuch$"):
        queue.jobbook.create(SPEC, after=[job, "extract-nosuch"])
    with pytest.raises(NotRetried, match=f"^job {job} is running: only a failed or cancelled job can be retried$"):
        queue.jobbook.retry(job)
    assert queue.jobbook.cancel(job) is True
    assert queue.jobbook.cancel(job) is False
    with pytest.raises(DependencyEnded, match=f"^{job}$"):
        queue.jobbook.create(SPEC, after=[job])
    with pytest.raises(DependencyEnded, match=f"^{job}$"):
        queue.jobbook.retry(waiting)
    assert [(order.job, order.count) for order in queue.jobbook.retry(job)] == [(job, 1)]


def test_a_job_that_succeeded_is_not_retried(queue: OwnQueue) -> None:
    job = queue.job()
    queue.ledger("w").commit(taken(queue.ledger("w"), job), Outcome())
    with pytest.raises(NotRetried, match="is succeeded"):
        queue.jobbook.retry(job)


def test_a_job_has_its_owner_and_one_of_an_earlier_version_nobody(queue: OwnQueue) -> None:
    job = queue.job(owner="alice")
    assert queue.jobbook.job(job).owner == "alice"
    queue.client.hdel(f"jdq:job:{job}", "owner")
    assert queue.jobbook.job(job).owner == "-"


@pytest.mark.parametrize(("by", "recorded"), [("bob", ["cancelled by bob"]), ("alice", []), (None, [])])
def test_a_cancellation_by_another_than_the_owner_is_recorded(
    queue: OwnQueue, by: str | None, recorded: list[str]
) -> None:
    job = queue.job(owner="alice")
    assert queue.jobbook.cancel(job, by=by)
    found = queue.jobbook.job(job)
    assert (found.state, [event["reason"] for event in found.log]) == (JobState.CANCELLED, recorded)


def test_an_ended_job_is_forgotten_with_all_its_keys_and_no_other_job(queue: OwnQueue) -> None:
    ledger = queue.ledger("w")
    before, queued = queue.job(), queue.job()
    keys = set(queue.client.keys(f"jdq:job:{queued}*"))
    job = queue.job(after=[before])
    for each in (before, job):
        ledger.release_after_fault(taken(ledger, each), "fault")
        queue.client.zadd(f"jdq:job:{each}:delayed", {"0": 0}, xx=True)
        lease = taken(queue.ledger("other"), each)
        queue.client.xadd(lines_key(each), {"line": "of its log"})
        assert queue.jobbook.forget([each, queued]) == []
        queue.ledger("other").commit(lease, Outcome(result={}))
        ledger.mark_idle(each)
        assert queue.jobbook.forget([each, queued]) == []  # the other worker has not left it
        queue.ledger("other").mark_idle(each)
    assert queue.jobbook.forget([before, queued, job, "extract-nosuch"]) == [before, job]
    assert queue.jobbook.ids() == [queued]
    assert set(queue.client.keys("jdq:job:*")) == keys
    assert ledger.mark_idle(before) == []


def test_a_forgotten_job_that_another_waited_for_does_not_keep_that_from_a_retry(queue: OwnQueue) -> None:
    first = queue.job()
    second = queue.job(after=[first])
    queue.ledger("w").commit(taken(queue.ledger("w"), first), Outcome())
    queue.ledger("w").mark_idle(first)
    queue.jobbook.cancel(second)
    assert queue.jobbook.forget([first]) == [first]
    assert [order.job for order in queue.jobbook.retry(second)] == [second]


def test_jobs_that_ended_before_a_moment(queue: OwnQueue, clock: Clock) -> None:
    old, late, odd = (queue.job(owner="alice") for _ in range(3))
    queue.jobbook.create(SPEC)
    queue.jobbook.cancel(old)
    now = float(queue.client.get(CLOCK) or 0) / 1000
    clock.pass_s(100)
    queue.jobbook.cancel(late)
    queue.client.delete(f"jdq:job:{odd}")
    queue.client.set(f"jdq:job:{odd}", "no hash")
    assert queue.jobbook.ended_before(now - 1) == []
    assert queue.jobbook.ended_before(now + 1) == [(old, "alice")]
    assert sorted(queue.jobbook.ended_before(now + 101)) == sorted([(old, "alice"), (late, "alice")])


def test_two_cancellations_of_a_job_that_runs_again_are_two_requests(queue: OwnQueue) -> None:
    job = queue.job()
    for _ in range(2):
        assert queue.jobbook.cancel(job)
        queue.jobbook.retry(job)
    assert queue.jobbook.job(job).state is JobState.QUEUED


def only(jobbook: JobBook) -> Worker:
    [worker] = jobbook.workers()
    return worker


def test_a_worker_is_listed_as_it_describes_itself(queue: OwnQueue) -> None:
    ledger = queue.ledger("w", queue="gpu")
    ledger.heartbeat(DESCRIPTION)
    worker = only(queue.jobbook)
    assert (worker.name, worker.queue, worker.host, worker.pid, worker.device) == ("w", "gpu", "rack7", 41, "cuda:0")
    assert (worker.started, worker.version, worker.protocol) == (12.5, "0.9", 3)
    assert (worker.state, worker.job, worker.reason, worker.tokens_per_s) == ("idle", None, None, None)
    assert abs(worker.last_seen - time.time()) < 5


def test_a_worker_without_a_description_is_listed_by_its_name(queue: OwnQueue) -> None:
    queue.ledger("w").heartbeat({})
    worker = only(queue.jobbook)
    assert (worker.queue, worker.host, worker.pid, worker.device, worker.started) == ("-", "-", 0, "-", 0)
    assert (worker.version, worker.protocol, worker.state) == ("-", 0, "idle")


def test_the_state_of_a_worker_is_the_gravest_that_holds(queue: OwnQueue) -> None:
    ledger, job = queue.ledger("w"), queue.job()
    ledger.heartbeat({"condition": "waiting"}, ready=False)
    assert only(queue.jobbook).state == "waiting"
    ledger.heartbeat({})
    taken(ledger, job)
    assert (only(queue.jobbook).state, only(queue.jobbook).job) == ("busy", job)
    queue.client.hset("jdq:workers:sick", "w", '{"reason": "its device is broken"}')
    assert (only(queue.jobbook).state, only(queue.jobbook).reason) == ("sick", "its device is broken")
    queue.client.hset("jdq:workers:sick", "w", "no json")
    assert only(queue.jobbook).reason == "no json"
    queue.client.hset("jdq:workers:sick", "w", "{}")
    assert only(queue.jobbook).reason == "{}"
    ledger.drain()
    assert (only(queue.jobbook).state, only(queue.jobbook).job) == ("stopping", job)
    queue.client.zadd("jdq:workers:seen", {"w": 1000 * (time.time() - 14)})
    assert only(queue.jobbook).state == "stopping"
    queue.client.zadd("jdq:workers:seen", {"w": 1000 * (time.time() - 16)})
    assert (only(queue.jobbook).state, only(queue.jobbook).job) == ("dead", None)
    queue.client.zrem("jdq:workers:seen", "w")
    assert (only(queue.jobbook).state, only(queue.jobbook).last_seen) == ("dead", 0)


def test_what_auto_means_is_settled_once(queue: OwnQueue) -> None:
    assert queue.jobbook.precision() is None
    assert queue.jobbook.settle_precision("bfloat16") == "bfloat16"
    assert queue.jobbook.settle_precision("float32") == "bfloat16"
    assert queue.jobbook.precision() == "bfloat16"


def test_the_chunks_of_a_worker_that_is_gone_are_returned_with_the_reason(queue: OwnQueue) -> None:
    job = queue.job()
    taken(queue.ledger("gone"), job)
    assert queue.jobbook.end_worker("other", "expired", "a crash") == []
    assert [(order.job, order.count) for order in queue.jobbook.end_worker("gone", "expired", "a crash")] == [(job, 1)]
    [event] = queue.jobbook.job(job).log
    assert (event["what"], event["worker"], event["reason"]) == ("expired", "gone", "a crash")
