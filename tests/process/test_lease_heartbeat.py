"""The lease heartbeat: it renews what a process holds, stores its progress, and passes on the order to stop."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jdq.worker.process.lease_heartbeat import (
    STOP_S,
    Draining,
    HeldLease,
    JobCancelled,
    LeaseHeartbeat,
    LeaseLost,
    Preempted,
    StopWork,
)
from jdq.worker.process.progress_watch import ProgressWatch
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Lease, Ledger
from jdq.worker.queue.scripts import Verdict
from tests.process.conftest import SPEC
from tests.waiting import until


@pytest.fixture
def ledger(client: redis.Redis) -> Ledger:
    return Ledger(client, worker="a", queue="cpu", lease_s=60, reclaim_s=0)


class Clock:
    """A monotonic clock that the test sets."""

    def __init__(self, now: list[float]) -> None:
        self._now = now

    def monotonic(self) -> float:
        return self._now[0]


def never(held: list[HeldLease]) -> None:
    raise AssertionError("the work looks whether it must stop")


Report = Callable[[list[HeldLease]], object]


@contextmanager
def running(
    ledger: Ledger, hangs: Report = lambda held: None, *, ignores_stop: Report = never
) -> Iterator[LeaseHeartbeat]:
    watch = ProgressWatch(0.2, interval_s=0.02, on_cpu=False)
    with LeaseHeartbeat(ledger, heartbeat_s=0.02, watch=watch, hangs=hangs, ignores_stop=ignores_stop) as heartbeat:
        yield heartbeat


def leased(jobbook: JobBook, ledger: Ledger) -> Lease:
    job, _ = jobbook.create(SPEC)
    lease = ledger.next(job)
    assert lease is not None
    return lease


def stopped(held: HeldLease) -> type[StopWork] | None:
    try:
        held.check()
    except StopWork as stop:
        assert str(stop) == held.lease.job
        return type(stop)
    return None


LEASE = Lease(job="j", chunk=0, token="t", attempt=1, spec_json="{}")


@pytest.mark.parametrize(
    ("verdict", "stop"),
    [("ok", None), ("lost", LeaseLost), ("cancelled", JobCancelled), ("drain", Draining), ("preempt", Preempted)],
)
def test_a_verdict_stops_the_work_for_its_reason(verdict: Verdict, stop: type[StopWork] | None) -> None:
    held = HeldLease(LEASE)
    assert (held.verdict, stopped(held)) == ("ok", None)
    held.verdict = verdict
    assert stopped(held) is stop


def test_work_adds_up_what_it_did_and_every_report_counts_as_progress() -> None:
    done: list[str] = []
    held = HeldLease(LEASE, lambda: done.append("renewed"), lambda: done.append("progress"))
    held.after_batch(3, 40)
    held.after_batch(2, 10)
    held.report(epoch=1)
    assert held.live == {"texts": 5, "tokens": 50, "epoch": 1}
    assert done == ["progress"] * 3
    done.clear()
    held.report_now(row=7)
    assert held.live == {"texts": 5, "tokens": 50, "epoch": 1, "row": 7}
    assert done == ["renewed", "progress"]


def test_a_chunk_is_in_work_only_while_a_thread_works_on_it() -> None:
    held = HeldLease(LEASE)
    assert held.in_work is False
    with pytest.raises(ZeroDivisionError), held.working():
        assert held.in_work is True
        raise ZeroDivisionError
    assert held.in_work is False


def test_the_progress_of_each_lease_reaches_the_ledger_until_it_is_forgotten(jobbook: JobBook, ledger: Ledger) -> None:
    with running(ledger) as heartbeat:
        first, second = heartbeat.hold(leased(jobbook, ledger)), heartbeat.hold(leased(jobbook, ledger))
        first.report(step=1)
        second.report(step=2)
        until(lambda: jobbook.job(first.lease.job).live == [{"step": 1}])
        until(lambda: jobbook.job(second.lease.job).live == [{"step": 2}])
        heartbeat.forget(first)
        heartbeat.forget(first)
        first.report(step=3)
        second.report(step=4)
        until(lambda: jobbook.job(second.lease.job).live == [{"step": 4}])
        assert jobbook.job(first.lease.job).live == [{"step": 1}]


def test_an_order_to_stop_reaches_the_lease_that_it_concerns(jobbook: JobBook, ledger: Ledger) -> None:
    with running(ledger) as heartbeat:
        cancelled, kept = heartbeat.hold(leased(jobbook, ledger)), heartbeat.hold(leased(jobbook, ledger))
        jobbook.cancel(cancelled.lease.job)
        assert until(lambda: stopped(cancelled)) is JobCancelled
        assert stopped(kept) is None
        ledger.drain()
        assert until(lambda: stopped(kept)) is Draining


def test_an_order_to_stop_needs_no_ledger() -> None:
    away = redis.Redis(unix_socket_path="/nonexistent/r.sock", retry=Retry(NoBackoff(), 0))
    with running(Ledger(away, worker="a", queue="cpu", lease_s=60, reclaim_s=0)) as heartbeat:
        held = [heartbeat.hold(LEASE), heartbeat.hold(LEASE)]
        heartbeat.drain()
        held.append(heartbeat.hold(LEASE))  # on its way before
        assert [stopped(one) for one in held] == [Draining, Draining, Draining]


def test_an_order_to_stop_is_not_withdrawn(jobbook: JobBook, ledger: Ledger) -> None:
    with running(ledger) as heartbeat:
        held = heartbeat.hold(leased(jobbook, ledger))
        held.tell("drain")
        heartbeat._renew()
        assert stopped(held) is Draining


def test_the_work_goes_on_while_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    away = redis.Redis(unix_socket_path="/nonexistent/r.sock", retry=Retry(NoBackoff(), 0))
    with caplog.at_level(logging.WARNING), running(Ledger(away, worker="a", queue="cpu", lease_s=60, reclaim_s=0)) as b:
        held = b.hold(LEASE)
        until(lambda: [text for text in caplog.messages if text.startswith("leases not renewed: Error 2 connecting")])
        assert stopped(held) is None


def test_work_must_not_go_on_when_nobody_renews_its_lease(
    jobbook: JobBook, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr("threading.excepthook", broken.append)

    def breaks(held: list[HeldLease]) -> Any:
        raise ZeroDivisionError

    with running(ledger, hangs=breaks) as heartbeat:
        held = heartbeat.hold(leased(jobbook, ledger))
        assert until(lambda: held.verdict == "lost", within_s=10)
        [args] = until(lambda: broken)
        assert args.thread is not None
        assert args.thread.name == "lease-heartbeat"


def test_work_stops_when_its_workers_main_process_is_dead(jobbook: JobBook, ledger: Ledger) -> None:
    with running(ledger) as heartbeat:
        held = heartbeat.hold(leased(jobbook, ledger))
        heartbeat._parent = -1
        assert until(lambda: stopped(held)) is Draining


def test_work_that_has_seen_its_order_to_stop_does_not_ignore_it_however_long_it_takes() -> None:
    now = [100.0]
    held = HeldLease(LEASE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jdq.worker.process.lease_heartbeat.time", Clock(now))
        with held.working():
            held.tell("drain")
            now[0] += STOP_S + 0.1
            assert held.ignores_stop
            assert stopped(held) is Draining
            assert not held.ignores_stop  # it saves a checkpoint


def test_leases_are_given_to_who_asked_when_work_ignores_its_order_to_stop(
    jobbook: JobBook, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdq.worker.process.lease_heartbeat.STOP_S", 0)
    ignored: list[list[HeldLease]] = []
    with running(ledger, ignores_stop=ignored.append) as heartbeat:
        held = heartbeat.hold(leased(jobbook, ledger))
        with held.working():
            heartbeat.drain()
            assert until(lambda: ignored)[0] == [held]


def test_work_that_reports_nothing_hangs_and_its_leases_are_given_to_who_asked(
    jobbook: JobBook, ledger: Ledger
) -> None:
    hanging: list[list[HeldLease]] = []
    with running(ledger, hangs=hanging.append) as heartbeat:
        held = heartbeat.hold(leased(jobbook, ledger))
        assert until(lambda: hanging, within_s=10)[0] == [held]


def test_a_process_that_holds_nothing_does_not_hang(ledger: Ledger) -> None:
    hanging: list[list[HeldLease]] = []
    looks: list[int] = []
    watch = ProgressWatch(0.05, interval_s=0.02, on_cpu=False, clock=lambda: float(len(looks)))
    original = watch.look

    def look() -> bool:
        looks.append(1)
        return original()

    watch.look = look  # type: ignore[method-assign]
    with LeaseHeartbeat(ledger, heartbeat_s=0.005, watch=watch, hangs=hanging.append, ignores_stop=never):
        until(lambda: len(looks) > 10, within_s=10)
    assert hanging == []
