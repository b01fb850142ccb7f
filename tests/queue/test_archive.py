"""Ended jobs are saved in the store, leave Redis, and are found, retried and removed there as before."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import redis

from jdq.store.job_files import JobFiles
from jdq.worker.config import read_config
from jdq.worker.process import archiver
from jdq.worker.process.archiver import Archiver
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.archive import LINES, RECORD, archived_lines, lines_key
from jdq.worker.queue.contract import OUTPUT, Classify, JobState
from jdq.worker.queue.jobbook import DependencyEnded, JobBook, NotRetried, UnknownJob
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.limits import LIMITS, LINES_KEPT
from jdq.worker.queue.records import Job
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import SPEC, Step
from tests.queue.ledgers import DONE, LedgerOf, planned, taken
from tests.redis_server import RedisServer


def ended(book: JobBook, ledger_of: LedgerOf, owner: str = "alice") -> str:
    """A job that has succeeded, with a result, an attempt in its log, and a log line."""
    ledger, (job, _) = ledger_of("w"), book.create(SPEC, owner=owner)
    ledger.release(taken(ledger, job), "the worker is stopping")
    book._client.xadd(lines_key(job), {"line": f"of {job}"})
    ledger.commit(taken(ledger, job), Outcome(counts={"tokens": 7}, result={"head_id": job}))
    ledger.mark_idle(job)
    return job


def shown(job: Job) -> Job:
    return replace(job, read_at=0)


def test_an_ended_job_is_found_in_the_store_exactly_as_it_was(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, files: JobFiles
) -> None:
    job, waiting = ended(book, ledger_of), book.create(SPEC)[0]
    before = book.job(job)
    step()
    assert shown(book.job(job)) == shown(before)
    assert client.exists(f"jdq:job:{job}") == 1
    assert client.exists(lines_key(job)) == 0
    assert archived_lines(files, job) == [f"of {job}"]
    step(days=0)
    assert client.keys(f"jdq:job:{job}*") == []
    assert shown(book.job(job)) == shown(before)
    assert [found.id for found in book.newest()] == book.ids() == [waiting, job]
    assert [found.id for found in book.jobs()] == [waiting]
    assert list(book.newest(since=book.job(waiting).created + 1)) == []


def test_a_job_whose_end_is_not_saved_yet_stays_in_redis(
    book: JobBook, ledger_of: LedgerOf, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ended(book, ledger_of)
    monkeypatch.setattr(archiver, "SETTLE_MS", 60_000)
    step(days=0)
    assert [found.id for found in book.jobs()] == [job]


def test_more_ended_jobs_than_redis_keeps_leave_it_the_oldest_first(
    book: JobBook, ledger_of: LedgerOf, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [ended(book, ledger_of) for _ in range(4)]
    monkeypatch.setattr(archiver, "LIMITS", msgspec.structs.replace(LIMITS, jobs_kept=3))
    step()
    assert {job.id for job in book.jobs()} == {*jobs[1:]}
    step()
    assert {job.id for job in book.jobs()} == {*jobs[1:]}
    assert set(book.ids()) == {*jobs}


def test_all_that_have_ended_are_saved_at_one_look(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "BATCH", 2)
    jobs = {ended(book, ledger_of) for _ in range(5)}
    step(days=0)
    assert client.zcard("jdq:unsaved") == 0
    assert set(client.zrange("jdq:archived", 0, -1)) == jobs


def test_a_short_job_leaves_the_history_when_its_client_has_the_output(
    book: JobBook,
    ledger_of: LedgerOf,
    step: Step,
    client: redis.Redis,
    files: JobFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archiver, "BATCH", 2)
    ledger = ledger_of("w")
    taken_away, kept, failed, cancelled, another = (book.create(Classify(head="h"))[0] for _ in range(5))
    files.put_array(kept, OUTPUT, np.zeros(1, np.uint8))
    book.cancel(cancelled)
    for job in (taken_away, kept, another):
        ledger.commit(taken(ledger, job), DONE)
    ledger.fail(taken(ledger, failed), {"type": "E", "message": "m"})
    ledger.mark_idle(failed)
    step()
    assert set(book.ids()) == {kept, failed}
    assert sorted(files.jobs_with("job")) == sorted([kept, failed])
    assert client.zcard("jdq:unsaved") == 0


def test_only_one_worker_looks_at_a_time(book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis) -> None:
    step()
    assert 0 < client.pttl("jdq:archiver") < 5_000
    look = Archiver(Runtime(read_config({"JDQ_BROKER_URL": "redis://nowhere"}), worker="w", queue="cpu"))
    look._runtime.ledger.client = client
    ended(book, ledger_of)
    look.step()
    assert client.zcard("jdq:unsaved") == 1


def test_a_retried_job_comes_back_with_the_chunks_that_are_left(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, files: JobFiles
) -> None:
    ledger = ledger_of("w")
    job = planned(book, ledger, 3)
    held, other = taken(ledger, job), taken(ledger, job)
    client.xadd(lines_key(job), {"line": "before"})
    ledger.commit(other, DONE)
    ledger.fail(held, {"type": "E", "message": "m"})
    ledger.mark_idle(job)
    step(days=0)
    assert client.exists(f"jdq:job:{job}") == 0

    assert [order.job for order in book.retry(job)] == [job]
    assert client.zcard("jdq:archived") == client.zcard("jdq:ended") == 0
    client.xadd(lines_key(job), {"line": "after"})
    leases = [taken(ledger, job), taken(ledger, job)]
    assert sorted(lease.chunk for lease in leases) == [held.chunk, 3]
    for lease in leases:
        ledger.commit(lease, DONE)
    ledger.mark_idle(job)
    step()
    step(days=0)
    assert book.job(job).state is JobState.SUCCEEDED
    assert book.job(job).log[0]["reason"] == "m"
    assert archived_lines(files, job) == ["before", "after"]
    with pytest.raises(NotRetried, match="is succeeded"):
        book.retry(job)


def test_the_last_lines_are_kept(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, files: JobFiles
) -> None:
    job = ended(book, ledger_of)
    for number in range(LINES_KEPT + 1):
        client.xadd(lines_key(job), {"line": str(number)})
    step()
    assert archived_lines(files, job)[0] == "1"
    assert len(archived_lines(files, job)) == LINES_KEPT


def test_a_new_job_may_wait_for_an_archived_one(book: JobBook, ledger_of: LedgerOf, step: Step) -> None:
    job, failed, open_job = ended(book, ledger_of), book.create(SPEC)[0], book.create(SPEC)[0]
    book.cancel(failed)
    step(days=0)
    assert book.job(book.create(SPEC, after=[job, open_job])[0]).waits_for == [open_job]
    with pytest.raises(DependencyEnded, match=failed):
        book.create(SPEC, after=[failed])
    with pytest.raises(UnknownJob, match="nosuch"):
        book.create(SPEC, after=["nosuch"])


def test_a_removed_job_is_gone_from_the_store_too(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, files: JobFiles
) -> None:
    jobs = [ended(book, ledger_of) for _ in range(3)]
    step(days=0)
    files.put_result(jobs[0], {"kept": 1})
    client.zrem("jdq:archived", jobs[1])  # as in a Redis that has lost its data
    assert book.forget([*jobs[:2], "nosuch"]) == jobs[:2]
    for job in jobs[:2]:
        assert (files.folder(job) / "job.json").exists() is False
        with pytest.raises(UnknownJob):
            book.job(job)
    assert files.get_result(jobs[0])["kept"] == 1
    assert book.ids() == jobs[2:]


def test_an_owners_jobs_are_found_without_reading_those_of_others(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis
) -> None:
    alice, bob, archived = (ended(book, ledger_of, owner) for owner in ("alice", "bob", "bob"))
    step(days=0)
    here = book.create(SPEC, owner="bob")[0]

    def of_bob() -> set[str]:
        return {job.id for job in book.newest(owner="bob")}

    assert of_bob() == {bob, archived, here}
    client.hset("jdq:owners", mapping={bob: "alice", here: "alice"})
    assert of_bob() == {archived}
    client.delete("jdq:owners")  # as an earlier version left it
    assert of_bob() == {alice, bob, archived, here}


def test_the_owner_of_a_removed_job_is_forgotten(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis
) -> None:
    jobs = [ended(book, ledger_of) for _ in range(2)]
    step(days=0)
    jobs.append(ended(book, ledger_of))
    assert client.hlen("jdq:owners") == 3
    book.forget(jobs)
    assert client.exists("jdq:owners") == 0


def test_jobs_that_ended_before_a_moment_may_be_archived(book: JobBook, ledger_of: LedgerOf, step: Step) -> None:
    job = ended(book, ledger_of, owner="bob")
    step(days=0)
    end = book.job(job).ended or 0
    assert book.ended_before(end + 1) == [(job, "bob")]
    assert book.ended_before(end - 0.001) == []


def test_the_history_of_a_redis_that_lost_its_data_is_rebuilt(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, files: JobFiles
) -> None:
    jobs = [ended(book, ledger_of) for _ in range(3)]
    before = [shown(job) for job in book.newest()]
    owners = client.hgetall("jdq:owners")
    step()
    client.flushdb()
    kept = ended(book, ledger_of)
    step()
    files.replace_json("damaged-job", RECORD, {"fields": 1})
    assert book.recover() == 3
    assert book.recover() == 0
    assert [shown(job) for job in book.newest()][1:] == before
    assert book.ids() == [kept, *reversed(jobs)]
    assert client.hgetall("jdq:owners") == {**owners, kept: "alice"}


def test_jobs_that_ended_under_an_earlier_version_are_archived(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis
) -> None:
    job = ended(book, ledger_of)
    client.delete("jdq:ended", "jdq:unsaved", "jdq:archives")
    step()
    step(days=0)
    assert (book.jobs(), book.ids()) == ([], [job])


def test_a_job_with_unusable_entries_holds_up_no_other(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broken, job = ended(book, ledger_of), ended(book, ledger_of)
    client.delete(f"jdq:job:{broken}")
    client.set(f"jdq:job:{broken}", "no hash")
    with caplog.at_level(logging.WARNING, "jdq"):
        step(days=0)
    assert client.zrange("jdq:archived", 0, -1) == [job]
    assert f"job {broken} is not archived: " in caplog.text
    assert "WRONGTYPE" in caplog.text
    assert client.zcard("jdq:unsaved") == 0


def test_a_job_that_broke_while_it_ran_is_archived_too(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis
) -> None:
    job = book.create(SPEC)[0]
    client.hset(f"jdq:job:{job}:troubles", "0", "no JSON")
    assert ledger_of("w").next(job) is None
    step(days=0)
    assert client.zrange("jdq:archived", 0, -1) == [job]
    assert book.job(job).error
    assert book.job(job).error.type == "BrokenJob"  # type: ignore[union-attr]


def test_a_store_that_is_away_is_reported_once_and_tried_again(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, tmp_path: Path, server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    ended(book, ledger_of)
    (tmp_path / "store").write_text("no folder")
    environment = {"JDQ_HOME": str(tmp_path), "JDQ_BROKER_URL": server.url}
    look = Archiver(Runtime(read_config(environment), worker="w", queue="cpu"))
    with caplog.at_level(logging.WARNING, "jdq"):
        for _ in range(2):
            client.delete("jdq:archiver")
            look._try()
    assert len([text for text in caplog.messages if text.startswith("ended jobs are not reported or archived: ")]) == 1
    (tmp_path / "store").unlink()
    client.delete("jdq:archiver")
    look._try()
    assert client.zcard("jdq:unsaved") == 0


def test_the_log_lines_of_all_open_jobs_together_are_bounded(
    book: JobBook, ledger_of: LedgerOf, step: Step, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "LINES_IN_ALL", 2 * LINES_KEPT)
    jobs = [book.create(SPEC)[0] for _ in range(2)]
    for job in jobs:
        for number in range(LINES_KEPT):
            client.xadd(lines_key(job), {"line": str(number)})
    step()
    assert [client.xlen(lines_key(job)) for job in jobs] == [LINES_KEPT] * 2
    book.create(SPEC)
    step()
    assert [client.xlen(lines_key(job)) for job in jobs] == [2 * LINES_KEPT // 3] * 2


def test_a_plan_that_ends_a_job_later_is_saved_once_it_has_ended(
    book: JobBook, ledger_of: LedgerOf, step: Step, files: JobFiles
) -> None:
    ledger = ledger_of("w")
    job = planned(book, ledger, 1)
    step()
    assert files.jobs_with(RECORD) == []
    ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=1, queue="cpu")))
    ledger.commit(taken(ledger, job), DONE)
    step()
    assert files.jobs_with(RECORD) == [job]
    assert files.jobs_with(LINES) == []
