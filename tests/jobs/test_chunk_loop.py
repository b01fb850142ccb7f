"""The chunk loop: it does every chunk, and reports every end of one to the ledger."""

import errno
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from jdq.store.errors import CannotWrite
from jdq.worker.process.errors import NothingFinite, WorkerSick
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import JobState, Predict
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import TicketOrder
from tests.jobs.chunks import SPEC, Work, loop, make_due, new_loop, nothing, planned, run
from tests.jobs.conftest import Workplace
from tests.waiting import until


def test_an_unexpected_error_is_tried_again_and_named(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(SPEC)

    def fails(held: HeldLease) -> None:
        raise ZeroDivisionError("of the device")

    run(workplace, job, fails)
    found = workplace.jobbook.job(job)
    assert found.state is JobState.RUNNING
    assert found.log[0]["reason"] == "ZeroDivisionError: of the device"


@pytest.mark.parametrize(
    "error", [NothingFinite("NaN in every text"), CannotWrite(Path("/store"), errno.EIO, "an error")]
)
def test_a_fault_of_the_machine_is_tried_again_and_a_sick_worker_takes_nothing_more(
    workplace: Workplace, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    job = planned(workplace, 3)

    def fails(held: HeldLease) -> None:
        raise error

    with caplog.at_level(logging.ERROR):
        loop(workplace, job, lambda lease: Work(fails, Outcome))
    found = workplace.jobbook.job(job)
    reason = f"{type(error).__module__}.{type(error).__qualname__}: {error}"
    assert {(event["what"], event["reason"]) for event in found.log} == {("fault", reason)}
    assert set(caplog.messages) == {"a fault; the chunk will be retried"}
    sick = workplace.client.hget("jdq:workers:sick", "worker-cpu")
    assert sick is not None
    assert json.loads(sick)["reason"] == (str(error) if isinstance(error, NothingFinite) else reason)
    assert len(found.log) in ((1, 2) if isinstance(error, NothingFinite) else (3,))  # it may have had one chunk ahead


def test_what_proves_a_worker_sick_does_not_count_against_the_chunk(workplace: Workplace) -> None:
    job = planned(workplace, 1)

    def fails(held: HeldLease) -> None:
        raise WorkerSick("the canary texts differ")

    for _ in range(4):  # one more than the faults that end a job
        workplace.client.delete("jdq:workers:sick")
        loop(workplace, job, lambda lease: Work(fails, Outcome))
    found = workplace.jobbook.job(job)
    assert found.state is JobState.RUNNING
    assert {(event["what"], event["reason"]) for event in found.log} == {("drain", "the canary texts differ")}
    assert len(found.log) == 4
    sick = workplace.client.hget("jdq:workers:sick", "worker-cpu")
    assert sick is not None
    assert json.loads(sick)["reason"] == "the canary texts differ"


def test_a_report_that_the_ledger_rejects_is_logged(
    workplace: Workplace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[TicketOrder]:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(Ledger, "release_after_fault", away)

    def fails(held: HeldLease) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR):
        run(workplace, workplace.jobbook.create(SPEC)[0], fails)
    assert caplog.messages[-1] == "the ledger rejects the report; the chunk is given up"


def test_what_a_chunk_has_prepared_is_computed_and_what_it_has_computed_is_published(workplace: Workplace) -> None:
    job = planned(workplace, 3)
    loop(workplace, job, lambda lease: Handing(lease.chunk))  # type: ignore[arg-type, return-value]
    assert workplace.jobbook.job(job).counts == {"published": 10 + 20 + 30}


def test_beside_the_last_chunk_of_a_job_no_other_job_s_chunk_is_leased(workplace: Workplace) -> None:
    long, _ = workplace.jobbook.create(SPEC, owner="a")
    other, _ = workplace.jobbook.create(SPEC, owner="b")
    leased_beside: list[int] = []

    def computes(held: HeldLease) -> None:
        if held.lease.job == long:
            time.sleep(0.3)
            leased_beside.append(workplace.jobbook.job(other).chunks_leased)

    run(workplace, long, computes)
    assert leased_beside == [0]
    assert workplace.jobbook.job(other).state is JobState.SUCCEEDED  # within the same time slice


def test_where_the_device_waits_for_a_chunk_two_are_prepared_at_the_same_time(workplace: Workplace) -> None:
    job, preparing, counts = planned(workplace, 12), set[int](), list[int]()

    def work_for(lease: Lease) -> Work:
        def slowly() -> None:
            preparing.add(lease.chunk)
            time.sleep(0.1)  # much longer than computing takes
            counts.append(len(preparing))
            preparing.remove(lease.chunk)

        return Work(nothing, Outcome, slowly)

    loop(workplace, job, work_for)
    assert counts[0] == 1
    assert max(counts) == 2
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED


def test_where_chunks_are_prepared_before_the_device_needs_them_one_is_leased_ahead(workplace: Workplace) -> None:
    job, leased, prepared = planned(workplace, 4), list[int](), set[int]()

    def computes(held: HeldLease) -> None:
        until(lambda: held.lease.chunk + 1 in prepared or held.lease.chunk == 4, within_s=10, why="one is ahead")
        time.sleep(0.3)  # until the loop knows
        leased.append(workplace.jobbook.job(job).chunks_leased)

    def work_for(lease: Lease) -> Work:
        return Work(computes, Outcome, lambda: prepared.add(lease.chunk))

    loop(workplace, job, work_for)
    assert leased == [2, 2, 2, 1]


@dataclass
class Handing:
    """A chunk's work that shows what each step is given."""

    chunk: int

    def prepare(self) -> int:
        return self.chunk

    def compute(self, prepared: int, held: HeldLease) -> int:
        assert held.lease.chunk == self.chunk
        return 10 * prepared

    def publish(self, computed: int) -> Outcome:
        return Outcome(counts={"published": computed})


@pytest.mark.parametrize("hangs", [True, False])
def test_a_process_that_must_end_returns_its_chunks_first(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    job, ended, sent = planned(workplace, 2), list[int](), list[list[TicketOrder]]()
    monkeypatch.setattr(os, "_exit", ended.append)
    loop = new_loop(workplace, job, lambda lease: Work(nothing, Outcome))
    loop._send = sent.append
    leases = [loop._ledger.next(job), loop._ledger.next(job)]
    held = [HeldLease(lease) for lease in leases if lease]
    held[0].in_work = True
    (loop._give_up if hangs else loop._end_unstoppable)(held)
    reason = "no progress for 0 s" if hangs else "its process ended, because the work did not stop"
    assert [(event["chunk"], event["what"], event["reason"]) for event in workplace.jobbook.job(job).log] == [
        (1, "fault" if hangs else "drain", reason),
        (2, "drain", reason),
    ]
    assert [len(orders) for orders in sent] == [0 if hangs else 1, 1]
    assert workplace.client.hexists("jdq:workers:sick", "worker-cpu") is hangs
    assert ended == [1]


def test_all_chunks_of_a_job_are_committed_in_one_time_slice(workplace: Workplace) -> None:
    job = planned(workplace, 40)
    run(workplace, job, nothing)
    found = workplace.jobbook.job(job)
    assert (found.state, found.chunks_done) == (JobState.SUCCEEDED, 41)


@pytest.mark.parametrize(
    ("counts", "measured"),
    [
        ({"computed": 7, "tokens": 90, "device_ms": 30}, {"texts": 7, "tokens": 90, "tokens_per_s": 3000}),
        ({"computed": 7, "tokens": 90, "device_ms": 0}, {"texts": 7, "tokens": 90}),
        ({"trials_done": 1}, {}),
    ],
)
def test_a_committed_chunk_is_one_line_with_what_was_computed_and_how_long_it_took(
    workplace: Workplace, counts: dict[str, int], measured: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    with caplog.at_level(logging.INFO):
        loop(workplace, job, lambda lease: Work(lambda held: time.sleep(0.05), lambda: Outcome(counts=counts)))
    [record] = [record for record in caplog.records if "committed" in record.getMessage()]
    found = dict(record.measured)  # type: ignore[attr-defined]
    seconds = found.pop("seconds")
    assert found == measured
    assert 0.05 <= seconds < 5
    listed = "".join(f"{value} {name}, " for name, value in measured.items())
    assert record.getMessage() == f"chunk committed (last): {listed}{seconds} seconds"


def test_one_failing_chunk_does_not_keep_the_others_from_being_done(workplace: Workplace) -> None:
    job = planned(workplace, 5)

    def fails_once(held: HeldLease) -> None:
        if held.lease.chunk == 2 and held.lease.attempt == 1:
            raise OSError("a cable")

    run(workplace, job, fails_once)
    assert workplace.jobbook.job(job).chunks_done == 5
    make_due(workplace, job, chunk=2)
    run(workplace, job, fails_once)
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED


def test_a_chunk_that_was_tried_before_runs_alone(workplace: Workplace) -> None:
    job = planned(workplace, 6)
    leased: list[int] = []

    def fails_once(held: HeldLease) -> None:
        if held.lease.chunk == 1 and held.lease.attempt == 1:
            raise OSError("a cable")
        if held.lease.chunk == 2:
            make_due(workplace, job, chunk=1)
        if held.lease.attempt == 2:
            leased.append(workplace.jobbook.job(job).chunks_leased)
            time.sleep(0.3)  # in which a look-ahead would take the next chunk
            leased.append(workplace.jobbook.job(job).chunks_leased)

    def slowly(lease: Lease) -> Outcome:
        time.sleep(0.2)  # in which the loop would take the next chunk
        if lease.attempt == 2:
            leased.append(workplace.jobbook.job(job).chunks_leased)
        return Outcome()

    loop(workplace, job, lambda lease: Work(fails_once, lambda: slowly(lease)))
    assert leased == [1, 1, 1]
    assert workplace.jobbook.job(job).state is JobState.SUCCEEDED


def test_the_lease_of_a_chunk_that_was_given_up_is_not_renewed(workplace: Workplace) -> None:
    job = planned(workplace, 2)
    expiries: list[float | None] = []

    def unreachable() -> Outcome:
        raise redis.ConnectionError("the ledger is away")

    def watches(held: HeldLease) -> None:
        if held.lease.chunk == 2:
            for _ in range(2):
                time.sleep(0.3)  # several heartbeats
                expiries.append(workplace.client.zscore(f"jdq:job:{job}:leases", "1"))

    loop(workplace, job, lambda lease: Work(watches, unreachable if lease.chunk == 1 else Outcome))
    first, second = expiries
    assert first == second is not None
    assert workplace.jobbook.job(job).chunks_done == 2


def test_an_error_in_choosing_a_chunks_work_fails_the_job(workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(Predict(dataset="d", version="v"))
    workplace.work_on(job, "cpu")
    error = workplace.jobbook.job(job).error
    assert error is not None
    assert "either a head or a model" in error.message


@pytest.mark.parametrize("texts", [3, 5])
def test_a_chunks_progress_is_visible_while_it_is_computed(workplace: Workplace, texts: int) -> None:
    job, _ = workplace.jobbook.create(SPEC)
    seen: list[dict[str, int]] = []

    def reports(held: HeldLease) -> None:
        held.after_batch(texts, 10 * texts)
        seen.extend(until(lambda: workplace.jobbook.job(job).live, within_s=10, why="the progress is reported"))

    run(workplace, job, reports)
    assert seen == [{"texts": texts, "tokens": 10 * texts}]
