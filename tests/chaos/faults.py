"""The faults that are done to a fleet, at random; a process that is paused and a worker that is sick recover."""

import contextlib
import math
import os
import random
import signal
import socket
import time
from pathlib import Path

import psutil
import redis

from tests.chaos.check import Findings
from tests.chaos.fleet import LEASE_S, WORKERS, Fleet

SICK = ("raises", "hangs", "nan", "slow", "flips")
FAULTS = ["kill worker", "kill child", "kill server", "pause", "sleep", "cut connections", "sick worker"]
FAULTS += ["lost replies", "full disk", "clock step"]
HOUR_MS = 3_600_000
WATCHED_S = 8.0


class Faults:
    """Does random faults to a fleet, and counts them and how long killed processes' chunks wait."""

    def __init__(self, fleet: Fleet, findings: Findings, rng: random.Random, *, own_disk: bool) -> None:
        self._fleet = fleet
        self._findings = findings
        self._rng = rng
        self._faults = [fault for fault in FAULTS if own_disk or fault != "full disk"]
        self._paused: list[tuple[float, psutil.Process]] = []
        self._sick: list[tuple[float, Path]] = []
        (fleet.stack.home / "sick").mkdir()

    def do(self) -> None:
        """Does one of them, and counts it if there was anything to do it to."""
        fault = self._rng.choice(self._faults)
        done = {
            "kill worker": lambda: self._signal(self._fleet.workers(), signal.SIGKILL),
            "kill child": self._kill_child,
            "kill server": lambda: self._signal(self._fleet.named("redis"), signal.SIGKILL),
            "pause": self._pause,
            "sleep": self._sleep,
            "sick worker": self._sicken,
            "cut connections": self._cut,
            "lost replies": self._lose_replies,
            "full disk": self._fill_disk,
            "clock step": self._step_clock,
        }[fault]()
        self._findings.faults[fault] += bool(done)

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
        children = self._fleet.children()
        undisturbed = len(children) == WORKERS and not self._sick and not self._paused
        if not children:
            return None
        # What it has is asked last: it might have committed it in the meantime.
        held = self._fleet.holders()
        chosen = self._signal([self._rng.choice(children)], signal.SIGKILL)
        tokens = {
            chunk: holder["token"] for chunk, holder in held.items() if chosen and holder["process"] == chosen.pid
        }
        recoveries_s = self._watch_recovery(tokens)
        self._findings.recoveries_s += recoveries_s
        self._findings.undisturbed_s += recoveries_s * undisturbed
        return chosen

    def _watch_recovery(self, tokens: dict[tuple[str, str], str]) -> list[float]:
        """Measures when these chunks, which were held under these tokens, are pending and when they are leased."""
        began = time.monotonic()
        returns_s, recoveries_s = dict.fromkeys(tokens, math.inf), dict.fromkeys(tokens, math.inf)
        while math.inf in recoveries_s.values() and (waited_s := time.monotonic() - began) < WATCHED_S:
            held = self._fleet.holders()
            for chunk, token in tokens.items():
                holder = held.get(chunk)
                if holder is None or holder["token"] != token:
                    returns_s[chunk] = min(returns_s[chunk], waited_s)
                if holder and holder["token"] != token:
                    recoveries_s[chunk] = min(recoveries_s[chunk], waited_s)
            self.resume(time.monotonic())
            time.sleep(0.02)
        self._findings.returns_s += returns_s.values()
        return list(recoveries_s.values())

    def _pause(self) -> bool:
        chosen = self._signal(self._fleet.children() + self._fleet.workers(), signal.SIGSTOP)
        if chosen:
            self._paused.append((time.monotonic() + self._rng.uniform(0.5, 2.5) * LEASE_S, chosen))
        return bool(chosen)

    def _sleep(self) -> bool:
        """All processes of the stack stop, as when a lid is closed."""
        processes = [*self._fleet.children(), *self._fleet.workers(), *self._fleet.named("redis")]
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
        file = self._fleet.stack.home / "sick" / name
        file.write_text(what)
        self._sick.append((time.monotonic() + self._rng.uniform(1, 8), file))

    def _fill_disk(self) -> bool:
        filler = self._fleet.stack.home / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(self._rng.uniform(0.5, 4))
        filler.unlink()
        return True

    def _step_clock(self) -> bool:
        with contextlib.suppress(redis.RedisError), self._fleet.client() as client:
            client.incrby("test:clock-offset", self._rng.choice((HOUR_MS, -HOUR_MS)))
            return True
        return False

    def _cut(self) -> bool:
        with contextlib.suppress(redis.RedisError), self._fleet.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
            return True
        return False

    def resume(self, now: float) -> None:
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
