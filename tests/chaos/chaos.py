"""Random faults over running jobs, then every feature is checked: ``python -m tests.chaos.chaos --faults 100``.

The stack is the real one (`jdq up`): server, supervisor and workers as processes. Faults: kill -9 of a worker's main
process, of the process that computes, and of the server; SIGSTOP of one process and of all, for longer than a lease;
all connections cut, and replies lost; a full disk, where this process may mount one; the scripts' clock set by an hour;
workers that raise, hang, return NaN, are ten times slower, or compute with a flipped bit. One text in some jobs kills
its process.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import redis

from jdq.store import open_store
from jdq.worker.config import read_config
from jdq.worker.encoder.hashing import hashed_feature
from jdq.worker.queue.connection import connect
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job
from tests.stack.conftest import FAULTY, Stack, computing, stack_in
from tests.waiting import until

DIM = 16
TEXTS = 1200
LEASE_S = 3.0
SETTINGS = FAULTY | {
    "JDQ_LEASE_S": str(LEASE_S),
    "JDQ_HEARTBEAT_S": "0.5",
    "JDQ_RECLAIM_S": "1",
    "JDQ_CHUNK_TOKENS": "600",
    "JDQ_SELF_TEST_S": "0.001",  # before every chunk
    "JDQ_STALL_S": "4",
}
SICK = ("raises", "hangs", "nan", "slow", "flips")
KILLER = 700  # the row whose text kills, from 1
FAULTS = ["kill worker", "kill child", "kill server", "pause", "sleep", "cut connections", "sick worker"]
FAULTS += ["lost replies", "full disk", "clock step"]
DISK = "size=256m"
HOUR_MS = 3_600_000
WATCHED_S = 8.0
WORKERS = 4  # one of them for plans


@dataclass
class Findings:
    """The findings of the final checks; all but the counts of faults, rows and killers should be 0.

    returns_s, recoveries_s: of each chunk that a killed process had, when it was pending and when another process had
    it, or inf. A chunk waits until an idle worker gets a message, or a busy one has finished its own. undisturbed_s:
    those of the latter where no other worker was sick, paused or missing.
    """

    faults: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    rows: int = 0
    lost: int = 0
    wrong: int = 0
    ended_twice: int = 0
    without_end: int = 0
    killers: int = 0
    killers_named: int = 0
    returns_s: list[float] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    undisturbed_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        unnamed = self.killers - self.killers_named
        return not (self.lost or self.wrong or self.ended_twice or self.without_end or self.failed or unnamed)


class Chaos:
    """One stack, its jobs, and the faults done to it."""

    def __init__(self, stack: Stack, folder: Path, rng: random.Random, *, own_disk: bool) -> None:
        self.stack = stack
        self.findings = Findings()
        self._folder = folder
        self._rng = rng
        self._faults = [fault for fault in FAULTS if own_disk or fault != "full disk"]
        self._tables: dict[str, list[str]] = {}
        self._paused: list[tuple[float, psutil.Process]] = []
        self._sick: list[tuple[float, Path]] = []
        (stack.home / "sick").mkdir()

    def run(self, faults: int) -> Findings:
        """Submits jobs and does that many faults; then waits for the jobs' ends and checks."""
        while sum(self.findings.faults.values()) < faults:
            while len(self._running()) < 2:
                self._submit()
            self._fault(self._rng.choice(self._faults))
            time.sleep(self._rng.uniform(0.2, 2.5))
            self._resume(time.monotonic())
        self._resume(float("inf"))
        self._await_running()
        self._check()
        return self.findings

    def _submit(self) -> None:
        number = len(self._tables)
        # Half of the texts are another job's, too.
        texts = [f"text {n} of {number if n % 2 else 'all'} [slow]" for n in range(TEXTS)]
        file = self._folder / f"table{number}.csv"
        if number % 4 == 1:
            texts[KILLER - 1] = f"text {KILLER} of {number} [kill]"
        file.write_text("text,label\n" + "".join(f"{text},{'ab'[n % 2]}\n" for n, text in enumerate(texts)))
        arguments = ["submit", "extract", str(file), "--encoder", f"hash:{DIM}", "--on-error", "skip"]
        self._tables[file.stem] = texts
        self._patiently(*arguments)

    def _patiently(self, *arguments: str) -> str:
        """The command's output; while the server is away, again."""
        command = [sys.executable, "-m", "jdq.cli", *arguments]

        def succeeded() -> subprocess.CompletedProcess[str] | None:
            done = subprocess.run(command, env=self.stack.environment, stdout=subprocess.PIPE, text=True, check=False)
            return done if done.returncode == 0 else None

        return until(succeeded, why=f"{arguments} succeeds").stdout

    def _jobs_now(self) -> list[Job]:
        return JobBook(connect(read_config(self.stack.environment), patience_s=60)).jobs()

    def _running(self) -> list[str]:
        return [job.id for job in self._jobs_now() if not job.state.ended]

    def _fault(self, fault: str) -> None:
        done = {
            "kill worker": lambda: self._signal(self._workers(), signal.SIGKILL),
            "kill child": self._kill_child,
            "kill server": lambda: self._signal(self._named("redis"), signal.SIGKILL),
            "pause": self._pause,
            "sleep": self._sleep,
            "sick worker": self._sicken,
            "cut connections": self._cut,
            "lost replies": self._lose_replies,
            "full disk": self._fill_disk,
            "clock step": self._step_clock,
        }[fault]()
        self.findings.faults[fault] += bool(done)

    def _named(self, prefix: str) -> list[psutil.Process]:
        state = json.loads((self.stack.home / "run" / "stack.json").read_text())
        found = []
        for name, child in state["children"].items():
            if name.startswith(prefix) and psutil.pid_exists(child["pid"]):
                found.append(psutil.Process(child["pid"]))
        return found

    def _workers(self) -> list[psutil.Process]:
        return self._named("gpu-") + self._named("cpu-")

    def _children(self) -> list[psutil.Process]:
        """The processes that compute: those that Celery spawned, not its semaphore tracker."""
        found = []
        for worker in self._workers():
            try:
                found += computing(worker)
            except psutil.NoSuchProcess:
                continue
        return found

    def _signal(self, processes: list[psutil.Process], number: signal.Signals) -> psutil.Process | None:
        if not processes:
            return None
        chosen = self._rng.choice(processes)
        try:
            os.kill(chosen.pid, number)
        except ProcessLookupError:
            return None
        return chosen

    def _kill_child(self) -> psutil.Process | None:
        """Kills a process that computes, and measures how long its chunks wait for another one."""
        children = self._children()
        undisturbed = len(children) == WORKERS and not self._sick and not self._paused
        if not children:
            return None
        # What it has is asked last: it might have committed it in the meantime.
        held = self._holders()
        chosen = self._signal([self._rng.choice(children)], signal.SIGKILL)
        tokens = {
            chunk: holder["token"] for chunk, holder in held.items() if chosen and holder["process"] == chosen.pid
        }
        recoveries_s = self._watch_recovery(tokens)
        self.findings.recoveries_s += recoveries_s
        self.findings.undisturbed_s += recoveries_s * undisturbed
        return chosen

    def _watch_recovery(self, tokens: dict[tuple[str, str], str]) -> list[float]:
        """Measures when these chunks, which were held under these tokens, are pending and when they are leased."""
        began = time.monotonic()
        returns_s, recoveries_s = dict.fromkeys(tokens, math.inf), dict.fromkeys(tokens, math.inf)
        while math.inf in recoveries_s.values() and (waited_s := time.monotonic() - began) < WATCHED_S:
            held = self._holders()
            for chunk, token in tokens.items():
                holder = held.get(chunk)
                if holder is None or holder["token"] != token:
                    returns_s[chunk] = min(returns_s[chunk], waited_s)
                if holder and holder["token"] != token:
                    recoveries_s[chunk] = min(recoveries_s[chunk], waited_s)
            self._resume(time.monotonic())
            time.sleep(0.02)
        self.findings.returns_s += returns_s.values()
        return list(recoveries_s.values())

    def _holders(self) -> dict[tuple[str, str], dict[str, Any]]:
        """By job and chunk: the token, worker and process that hold it; none while the server is away."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        with contextlib.suppress(redis.RedisError), self._client() as client:
            for job in client.smembers("jdq:open"):
                for chunk, text in client.hgetall(f"jdq:job:{job}:holders").items():
                    found[str(job), str(chunk)] = json.loads(text)
        return found

    def _pause(self) -> bool:
        chosen = self._signal(self._children() + self._workers(), signal.SIGSTOP)
        if chosen:
            self._paused.append((time.monotonic() + self._rng.uniform(0.5, 2.5) * LEASE_S, chosen))
        return bool(chosen)

    def _sleep(self) -> bool:
        """All processes of the stack stop, as when a lid is closed."""
        processes = [*self._children(), *self._workers(), *self._named("redis")]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        time.sleep(self._rng.uniform(0.5, 2) * LEASE_S)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        return bool(processes)

    def _sicken(self) -> bool:
        worker = f"gpu-{self._rng.randint(1, WORKERS - 1)}@{socket.gethostname()}"
        self._for_a_while(worker, self._rng.choice(SICK))
        return True

    def _lose_replies(self) -> bool:
        self._for_a_while("replies", "")
        return True

    def _for_a_while(self, name: str, what: str) -> None:
        file = self.stack.home / "sick" / name
        file.write_text(what)
        self._sick.append((time.monotonic() + self._rng.uniform(1, 8), file))

    def _fill_disk(self) -> bool:
        filler = self.stack.home / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(self._rng.uniform(0.5, 4))
        filler.unlink()
        return True

    def _step_clock(self) -> bool:
        with contextlib.suppress(redis.RedisError), self._client() as client:
            client.incrby("test:clock-offset", self._rng.choice((HOUR_MS, -HOUR_MS)))
            return True
        return False

    def _client(self) -> redis.Redis:
        path = (self.stack.home / "run" / "socket").read_text()
        return redis.Redis(unix_socket_path=path, decode_responses=True)

    def _resume(self, now: float) -> None:
        for due, file in list(self._sick):
            if due <= now:
                self._sick.remove((due, file))
                file.unlink(missing_ok=True)
        for due, process in list(self._paused):
            if due <= now:
                self._paused.remove((due, process))
                try:
                    process.send_signal(signal.SIGCONT)
                except psutil.NoSuchProcess:
                    continue

    def _cut(self) -> bool:
        with contextlib.suppress(redis.RedisError), self._client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
            return True
        return False

    def _await_running(self) -> None:
        """Waits until no job runs; those that still do after three minutes are a finding."""
        with contextlib.suppress(AssertionError):
            until(lambda: not self._running(), within_s=180)

    def _check(self) -> None:
        store = open_store(self.stack.home / "store")
        for job in self._jobs_now():
            name = str(job.spec.dataset)
            texts = self._tables[name]
            self.findings.jobs += 1
            if not job.state.ended:
                self.findings.without_end += 1
                continue
            if job.state != "succeeded":
                self.findings.failed.append(f"{job.id}: {job.error}")
                continue
            # The same line twice is one whose reply was lost.
            lines = set(self._patiently("logs", job.id).splitlines())
            ends = sorted(line for line in lines if "chunk committed (last)" in line)
            self.findings.ended_twice += len(ends) > 1
            self.findings.details += ends if len(ends) > 1 else []
            killers = sum("[kill]" in text for text in texts)
            self.findings.killers += killers
            self.findings.killers_named += job.counts.get("skipped", 0) == killers == 1
            self.findings.lost += job.counts.get("skipped", 0) != killers
            self.findings.lost += job.counts["texts_total"] - job.counts["texts_done"]
            self.findings.lost += job.chunks_total - job.chunks_done
            if killers:
                continue  # its dataset has a row without features, which load() refuses
            features, _, _ = store.load(name)
            expected = np.array([hashed_feature(text, DIM) for text in texts], dtype=np.float16)
            self.findings.rows += len(texts)
            self._compare(job.id, features != expected)

    def _compare(self, job: str, differs: np.ndarray) -> None:
        """Counts the rows of a job in which a number is not what it should be."""
        wrong = differs.any(axis=1)
        self.findings.wrong += int(wrong.sum())
        if wrong.any():
            flipped = int((wrong & ~differs[:, 1:].any(axis=1)).sum())
            rows = np.flatnonzero(wrong) + 1
            self.findings.details.append(
                f"{job}: {len(rows)} wrong rows, from {rows[0]} to {rows[-1]}; {flipped} of them by a flipped bit"
            )


def make_chaos(faults: int, seed: int) -> Findings:
    """The findings of one run on a stack of its own."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        stack = stack_in(folder, **SETTINGS)
        with own_disk(stack.home) as mounted:
            stack.run("up", "--gpu-workers", str(WORKERS - 1), "--cpu-workers", "1")
            try:
                return Chaos(stack, Path(folder), random.Random(seed), own_disk=mounted).run(faults)
            finally:
                stack.run("down")


@contextlib.contextmanager
def own_disk(folder: Path) -> Iterator[bool]:
    """Gives the folder a small disk of its own, where this process may do so."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@click.command()
@click.option("--faults", type=int, default=100, show_default=True)
@click.option("--seed", type=int, default=lambda: random.randrange(10**6), help="Random seed for the faults.")
def main(faults: int, seed: int) -> None:
    """Random faults over running jobs; exit code 1 when anything was lost, wrong or ended twice."""
    click.echo(f"seed {seed}")
    began = time.monotonic()
    found = make_chaos(faults, seed)
    click.echo(f"{sum(found.faults.values())} faults in {time.monotonic() - began:.0f} s: {dict(found.faults)}")
    click.echo(
        f"{found.jobs} jobs, {found.rows} rows checked; {found.killers_named} of {found.killers} rows that kill found"
    )
    click.echo(
        f"lost {found.lost}, wrong {found.wrong}, ended twice {found.ended_twice}, "
        f"without an end {found.without_end}, given up {len(found.failed)}"
    )
    for what, times_s in (
        ("pending again", found.returns_s),
        ("with another process", found.recoveries_s),
        ("with another process, where all other workers were well", found.undisturbed_s),
    ):
        if times_s:
            click.echo(
                f"{len(times_s)} chunks of killed processes: {what} after {statistics.median(times_s):.2f} s (median)"
            )
    for detail in [*found.failed, *found.details]:
        click.echo(f"  {detail}")
    sys.exit(0 if found.sound else 1)


if __name__ == "__main__":
    main()
