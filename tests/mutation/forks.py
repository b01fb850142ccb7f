"""Runs tests in forks of a pytest session that has collected them: a mutant costs its tests, and no imports."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
OPTIONS = ["-q", "-s", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--timeout=60"]
LOG = Path(".mutants") / f"{os.getpid()}.log"


class Collected:
    """A pytest plugin that calls work(session) with the collected tests in place of running them."""

    def __init__(self, work: Callable[[pytest.Session], None]) -> None:
        self._work = work

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Takes the place of pytest's own loop."""
        self._work(session)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Logs a failure immediately: a fork does not live to the summary."""
        if report.failed:
            sys.stdout.write(f"{report.nodeid}\n{report.longreprtext}\n")
            sys.stdout.flush()


def with_collected(files: Iterable[str], work: Callable[[pytest.Session], None]) -> None:
    """Calls work(session) after these files' tests have been collected."""
    LOG.parent.mkdir(exist_ok=True)
    LOG.unlink(missing_ok=True)
    code = pytest.main([*OPTIONS, "-m", "not slow and not compose", *files], plugins=[Collected(work)])
    if code:
        raise SystemExit(f"pytest ended with {code}")


def fails(session: pytest.Session, tests: list[pytest.Item]) -> bool:
    """Runs the tests until one fails."""
    for test, following in zip(tests, [*tests[1:], None], strict=False):
        session.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        if session.testsfailed:
            return True
    return False


def fork(work: Callable[[], bool]) -> int:
    """The process id of a fork, in a process group of its own, whose exit code says whether work() is true."""
    if pid := os.fork():
        return pid
    answer = True
    try:
        os.setsid()
        for descriptor in (1, 2):
            os.dup2(os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
        answer = work()
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent does
        traceback.print_exc()
    finally:
        os._exit(answer)


def must_pass(work: Callable[[], bool]) -> None:
    """Runs work() in a fork; exits where it is true: there is no mutant, and yet a test fails."""
    if any(failed for _, failed in answers([("", work, 900.0)], 1)):
        raise SystemExit(f"the tests fail without a mutant: {LOG}")


def answers(work: Iterable[tuple[T, Callable[[], bool], float]], most: int) -> Iterator[tuple[T, bool]]:
    """What the work of each is, in `most` forks at a time; true for one that takes longer than its limit in seconds."""
    running: dict[int, tuple[T, float]] = {}
    for name, call, limit_s in work:
        running[fork(call)] = name, time.monotonic() + limit_s
        while len(running) >= most:
            yield from _ended(running)
    while running:
        yield from _ended(running)


def _ended(running: dict[int, tuple[T, float]]) -> Iterator[tuple[T, bool]]:
    time.sleep(0.01)
    for pid, (name, limit) in list(running.items()):
        late = time.monotonic() > limit
        if late:
            os.killpg(pid, signal.SIGKILL)
        over, status = os.waitpid(pid, 0 if late else os.WNOHANG)
        if over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # servers of its tests
            del running[pid]
            yield name, late or status != 0
