"""Ended jobs are saved in the store, leave Redis, and are found, retried and removed there as before."""

import msgspec
import numpy as np
import pytest

from jdq.store.job_files import JobFiles
from jdq.worker.config import read_config
from jdq.worker.process import archiver
from jdq.worker.process.archiver import Archiver
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.archive import LINES, RECORD, archived_lines, lines_key, save
from jdq.worker.queue.contract import OUTPUT, Classify, JobState
from jdq.worker.queue.jobbook import DependencyEnded, NotRetried, UnknownJob
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.limits import LIMITS, LINES_KEPT
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.archive.conftest import Step, ended, shown
from tests.queue.ledgers import DONE, SPEC, OwnQueue, taken


def test_an_ended_job_is_found_in_the_store_exactly_as_it_was(queue: OwnQueue, step: Step, files: JobFiles) -> None:
    job, waiting = ended(queue), queue.job()
    before = queue.jobbook.job(job)
    save(queue.client, files, job)  # by a worker that then died
    step()
    assert shown(queue.jobbook.job(job)) == shown(before)
    assert queue.client.exists(f"jdq:job:{job}") == 1
    assert queue.client.exists(lines_key(job)) == 0
    assert archived_lines(files, job) == [f"of {job}"]
    step(days=0)
    assert queue.client.keys(f"jdq:job:{job}*") == []
    assert shown(queue.jobbook.job(job)) == shown(before)
    assert [found.id for found in queue.jobbook.newest()] == queue.jobbook.ids() == [waiting, job]
    assert [found.id for found in queue.jobbook.jobs()] == [waiting]
    assert list(queue.jobbook.newest(since=queue.jobbook.job(waiting).created + 1)) == []


def test_a_job_that_is_not_saved_yet_stays_in_redis(
    queue: OwnQueue, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ended(queue)
    monkeypatch.setattr(archiver, "SETTLE_MS", 60_000)
    step(days=0)
    assert [found.id for found in queue.jobbook.jobs()] == [job]


def test_more_ended_jobs_than_redis_keeps_leave_it_the_oldest_first(
    queue: OwnQueue, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [ended(queue) for _ in range(4)]
    monkeypatch.setattr(archiver, "LIMITS", msgspec.structs.replace(LIMITS, jobs_kept=3))
    step()
    assert {job.id for job in queue.jobbook.jobs()} == {*jobs[1:]}
    step()
    assert {job.id for job in queue.jobbook.jobs()} == {*jobs[1:]}
    assert set(queue.jobbook.ids()) == {*jobs}


def test_all_that_ended_are_saved_at_one_look(queue: OwnQueue, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "BATCH", 2)
    jobs = {ended(queue) for _ in range(5)}
    step(days=0)
    assert queue.client.zcard("jdq:unsaved") == 0
    assert set(queue.client.zrange("jdq:archived", 0, -1)) == jobs


def test_a_short_job_leaves_the_history_when_its_client_has_the_output(
    queue: OwnQueue, step: Step, files: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "BATCH", 2)
    ledger = queue.ledger("w")
    taken_away, kept, failed, cancelled, another = (queue.jobbook.create(Classify(head="h"))[0] for _ in range(5))
    files.put_array(kept, OUTPUT, np.zeros(1, np.uint8))
    queue.jobbook.cancel(cancelled)
    for job in (taken_away, kept, another):
        ledger.commit(taken(ledger, job), DONE)
    ledger.fail(taken(ledger, failed), {"type": "E", "message": "m"})
    ledger.mark_idle(failed)
    step()
    assert set(queue.jobbook.ids()) == {kept, failed}
    assert sorted(files.jobs_with("job")) == sorted([kept, failed])
    assert queue.client.zcard("jdq:unsaved") == 0


def test_only_one_worker_looks_at_a_time(queue: OwnQueue, step: Step) -> None:
    step()
    assert 0 < queue.client.pttl("jdq:archiver") < 5_000
    look = Archiver(Runtime(read_config({"JDQ_BROKER_URL": "redis://nowhere"}), worker="w", queue="cpu"))
    look._runtime.ledger.client = queue.client
    ended(queue)
    look.step()
    assert queue.client.zcard("jdq:unsaved") == 1


def test_a_retried_job_comes_back_with_the_chunks_that_are_left(queue: OwnQueue, step: Step, files: JobFiles) -> None:
    ledger, job = queue.worked_on("w", 3)
    held, other = taken(ledger, job), taken(ledger, job)
    queue.client.xadd(lines_key(job), {"line": "before"})
    ledger.commit(other, DONE)
    ledger.fail(held, {"type": "E", "message": "m"})
    ledger.mark_idle(job)
    step(days=0)
    assert queue.client.exists(f"jdq:job:{job}") == 0

    assert [order.job for order in queue.jobbook.retry(job)] == [job]
    assert queue.client.zcard("jdq:archived") == queue.client.zcard("jdq:ended") == 0
    queue.client.xadd(lines_key(job), {"line": "after"})
    leases = [taken(ledger, job), taken(ledger, job)]
    assert sorted(lease.chunk for lease in leases) == [held.chunk, 3]
    for lease in leases:
        ledger.commit(lease, DONE)
    ledger.mark_idle(job)
    step()
    step(days=0)
    assert queue.jobbook.job(job).state is JobState.SUCCEEDED
    assert queue.jobbook.job(job).log[0]["reason"] == "m"
    assert archived_lines(files, job) == ["before", "after"]
    with pytest.raises(NotRetried, match="is succeeded"):
        queue.jobbook.retry(job)


def test_the_last_lines_are_kept(queue: OwnQueue, step: Step, files: JobFiles) -> None:
    job = ended(queue)
    for number in range(LINES_KEPT + 1):
        queue.client.xadd(lines_key(job), {"line": str(number)})
    step()
    assert archived_lines(files, job)[0] == "1"
    assert len(archived_lines(files, job)) == LINES_KEPT


def test_a_new_job_may_wait_for_an_archived_one(queue: OwnQueue, step: Step) -> None:
    job, failed, open_job = ended(queue), queue.job(), queue.job()
    queue.jobbook.cancel(failed)
    step(days=0)
    assert queue.jobbook.job(queue.job(after=[job, open_job])).waits_for == [open_job]
    with pytest.raises(DependencyEnded, match=failed):
        queue.jobbook.create(SPEC, after=[failed])
    with pytest.raises(UnknownJob, match="nosuch"):
        queue.jobbook.create(SPEC, after=["nosuch"])


def test_a_removed_job_is_gone_from_the_store_too(queue: OwnQueue, step: Step, files: JobFiles) -> None:
    jobs = [ended(queue) for _ in range(3)]
    step(days=0)
    files.put_result(jobs[0], {"kept": 1})
    queue.client.zrem("jdq:archived", jobs[1])  # as in a Redis that has lost its data
    assert queue.jobbook.forget([*jobs[:2], "nosuch"]) == jobs[:2]
    for job in jobs[:2]:
        assert (files.folder(job) / "job.json").exists() is False
        with pytest.raises(UnknownJob):
            queue.jobbook.job(job)
    assert files.get_result(jobs[0])["kept"] == 1
    assert queue.jobbook.ids() == jobs[2:]


def test_an_owners_jobs_are_found_without_reading_those_of_others(queue: OwnQueue, step: Step) -> None:
    alice, bob, archived = (ended(queue, owner=owner) for owner in ("alice", "bob", "bob"))
    step(days=0)
    here = queue.jobbook.create(SPEC, owner="bob")[0]

    def of_bob() -> set[str]:
        return {job.id for job in queue.jobbook.newest(owner="bob")}

    assert of_bob() == {bob, archived, here}
    queue.client.hset("jdq:owners", mapping={bob: "alice", here: "alice"})
    assert of_bob() == {archived}
    queue.client.delete("jdq:owners")  # as an earlier version left it
    assert of_bob() == {alice, bob, archived, here}


def test_the_owner_of_a_removed_job_is_forgotten(queue: OwnQueue, step: Step) -> None:
    jobs = [ended(queue) for _ in range(2)]
    step(days=0)
    jobs.append(ended(queue))
    assert queue.client.hlen("jdq:owners") == 3
    queue.jobbook.forget(jobs)
    assert queue.client.exists("jdq:owners") == 0


def test_jobs_that_ended_before_a_moment_may_be_archived(queue: OwnQueue, step: Step) -> None:
    job = ended(queue, owner="bob")
    step(days=0)
    end = queue.jobbook.job(job).ended or 0
    assert queue.jobbook.ended_before(end + 1) == [(job, "bob")]
    assert queue.jobbook.ended_before(end - 0.001) == []


def test_the_history_of_a_redis_that_lost_its_data_is_rebuilt(queue: OwnQueue, step: Step, files: JobFiles) -> None:
    jobs = [ended(queue) for _ in range(3)]
    before = [shown(job) for job in queue.jobbook.newest()]
    owners = queue.client.hgetall("jdq:owners")
    step()
    queue.client.flushdb()
    kept = ended(queue)
    step()
    files.replace_json("damaged-job", RECORD, {"fields": 1})
    assert queue.jobbook.recover() == 3
    assert queue.jobbook.recover() == 0
    assert [shown(job) for job in queue.jobbook.newest()][1:] == before
    assert queue.jobbook.ids() == [kept, *reversed(jobs)]
    assert queue.client.hgetall("jdq:owners") == {**owners, kept: "alice"}


def test_the_log_lines_of_all_open_jobs_together_are_bounded(
    queue: OwnQueue, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "LINES_IN_ALL", 2 * LINES_KEPT)
    jobs = [queue.job() for _ in range(2)]
    for job in jobs:
        for number in range(LINES_KEPT):
            queue.client.xadd(lines_key(job), {"line": str(number)})
    step()
    assert [queue.client.xlen(lines_key(job)) for job in jobs] == [LINES_KEPT] * 2
    queue.jobbook.create(SPEC)
    step()
    assert [queue.client.xlen(lines_key(job)) for job in jobs] == [2 * LINES_KEPT // 3] * 2


def test_a_plan_that_ends_a_job_later_is_saved_once_it_has_ended(queue: OwnQueue, step: Step, files: JobFiles) -> None:
    ledger, job = queue.worked_on("w", 1)
    step()
    assert files.jobs_with(RECORD) == []
    ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=1, queue="cpu")))
    ledger.commit(taken(ledger, job), DONE)
    step()
    assert files.jobs_with(RECORD) == [job]
    assert files.jobs_with(LINES) == []
