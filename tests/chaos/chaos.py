"""Random faults over running jobs, then every feature is checked: ``python -m tests.chaos.chaos --faults 100``.

The stack is the real one (`jdq up`): server, supervisor and workers as processes. Faults: kill -9 of a worker's main
process, of the process that computes, and of the server; SIGSTOP of one process and of all, for longer than a lease;
all connections cut, and replies lost; a full disk, where this process may mount one; the scripts' clock set by an hour;
workers that raise, hang, return NaN, are ten times slower, or compute with a flipped bit. One text in some jobs kills
its process. Two owners submit extractions, one of them urgent ones; a fine-tune of low priority, of a third owner,
makes room.
"""

import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from tests.chaos.check import DIM, Findings, check
from tests.chaos.faults import Faults
from tests.chaos.fleet import LEASE_S, WORKERS, Fleet
from tests.stack.conftest import FAULTY, Stack, stack_in
from tests.waiting import until

TEXTS = 1200
SETTINGS = FAULTY | {
    "JDQ_LEASE_S": str(LEASE_S),
    "JDQ_HEARTBEAT_S": "0.5",
    "JDQ_RECLAIM_S": "1",
    "JDQ_CHUNK_TOKENS": "600",
    "JDQ_SELF_TEST_S": "0.001",  # before every chunk
    "JDQ_STALL_S": "4",
    "FINE_TUNES_SLEEP": "1",
}
KILLER = 700  # the row whose text kills, from 1
OWNERS = ("alice", "bob")
DISK = "size=256m"


class Chaos:
    """One stack, its jobs, and the faults done to it."""

    def __init__(self, stack: Stack, folder: Path, rng: random.Random, *, own_disk: bool) -> None:
        self._fleet = Fleet(stack)
        self._findings = Findings()
        self._folder = folder
        self._rng = rng
        self._faults = Faults(self._fleet, self._findings, rng, own_disk=own_disk)
        self._tables: dict[str, list[str]] = {}

    def run(self, faults: int) -> Findings:
        """Submits jobs and does that many faults; then waits for the jobs' ends and checks."""
        self._fleet.add_fine_tune()
        while sum(self._findings.faults.values()) < faults:
            while len(self._fleet.running()) < 3:
                self._submit()
            self._faults.do()
            time.sleep(self._rng.uniform(0.2, 2.5))
            self._faults.resume(time.monotonic())
        self._faults.resume(float("inf"))
        self._await_running()
        check(self._fleet, self._tables, self._findings)
        return self._findings

    def _submit(self) -> None:
        number = len(self._tables)
        # Half of the texts are another job's, too.
        texts = [f"text {n} of {number if n % 2 else 'all'} [slow]" for n in range(TEXTS)]
        file = self._folder / f"table{number}.csv"
        if number % 4 == 1:
            texts[KILLER - 1] = f"text {KILLER} of {number} [kill]"
        file.write_text("text,label\n" + "".join(f"{text},{'ab'[n % 2]}\n" for n, text in enumerate(texts)))
        arguments = ["submit", "extract", str(file), "--encoder", f"hash:{DIM}", "--on-error", "skip"]
        arguments += ["--priority", "high" if number % 2 else "normal"]
        self._tables[file.stem] = texts
        self._fleet.patiently(*arguments, user=OWNERS[number % 2])

    def _await_running(self) -> None:
        """Waits until no job runs; those that still do after three minutes are a finding."""
        with contextlib.suppress(AssertionError):
            until(lambda: not self._fleet.running(), within_s=180)


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
        f"without an end {found.without_end}, given up {len(found.failed)}; "
        f"the fine-tune made room {found.preempted} times; jobs by owner: {dict(found.owners)}"
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
