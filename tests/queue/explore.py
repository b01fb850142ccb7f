"""All interleavings of a few workers, chunks and jobs over the real Lua scripts: ``python -m tests.queue.explore``.

A state is the whole database. From each state, every action is tried; states that were seen are not tried again. The
clock is the test's, and stands still unless an action sets it. In each state the invariants of `Checker` must hold, and
from each state at the last depth the jobs must end by what the reclaimer's tickets make workers do.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import redis

from jdq.worker.queue import scripts
from jdq.worker.queue.contract import encode_spec
from jdq.worker.queue.scripts import (
    Cancel,
    Commit,
    Create,
    EndProcess,
    FollowUpChunks,
    Heartbeat,
    Leased,
    Next,
    Reclaim,
    Release,
    Renew,
    RenewedLease,
    Retry,
    Script,
    TicketOrder,
)
from tests.queue.conftest import CLOCK, SPEC, source_on_test_clock
from tests.redis_server import RedisServer

LEASE_MS, RECLAIM_MS = 60_000, 5_000
START = 1_700_000_000_000
WORKERS = ("a", "b")
JOB, DEPENDENT = "j", "d"
CHUNKS = 2  # of the follow-up
ENDED = ("succeeded", "failed", "cancelled")


def _whole_number(score: Any) -> str:
    return f"{float(score):.0f}"


READS: dict[str, Callable[[Any, str], object]] = {
    "hash": lambda pipe, key: pipe.hgetall(key),
    "zset": lambda pipe, key: pipe.zrange(
        key, 0, -1, withscores=True, score_cast_func=lambda score: f"{float(score):.0f}"
    ),
    "set": lambda pipe, key: pipe.smembers(key),
    "string": lambda pipe, key: pipe.get(key),
}


class Violated(AssertionError):
    """An invariant does not hold; the message names it and the actions that led there."""


@dataclass(frozen=True)
class Held:
    """A lease as its worker knows it. lost_reply: it does not know that it has it."""

    job: str
    chunk: int
    token: str


@dataclass
class World:
    """What the database does not hold: what workers know, and what has happened."""

    held: dict[str, Held] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)  # worker -> the token of a next whose reply was lost
    committed: dict[str, int] = field(default_factory=dict)  # "job/chunk" -> times that a commit was counted
    released: int = 0  # times that the dependent's ticket came with the end of the job
    ends: int = 0  # times that a commit said "last" of the job
    tokens: int = 0

    def copy(self) -> World:
        return msgspec.json.decode(msgspec.json.encode(self), type=World)


class Explorer:
    """Runs actions on the database, and saves and restores it as a whole."""

    def __init__(self, client: redis.Redis, raw: redis.Redis, workers: Sequence[str] = WORKERS) -> None:
        self.workers = workers
        self.client: Any = client  # redis-py types replies by neither the command nor `decode_responses`
        self._raw: Any = raw
        self.world = World()

    # The database as a value

    def save(self) -> dict[bytes, bytes]:
        keys = sorted(self._raw.keys())
        pipe = self._raw.pipeline(transaction=False)
        for key in keys:
            pipe.dump(key)
        return dict(zip(keys, pipe.execute(), strict=True))

    def restore(self, dump: dict[bytes, bytes], world: World) -> None:
        pipe = self._raw.pipeline(transaction=False)
        pipe.flushall()
        for key, value in dump.items():
            pipe.restore(key, 0, value)
        pipe.execute()
        self.world = world.copy()

    def digest(self) -> bytes:
        """Equal for states that no action can tell apart: times are relative, tokens named by holder, logs left out."""
        now = int(self.client.get(CLOCK) or 0)
        names = {held.token: f"held by {worker}" for worker, held in self.world.held.items()}
        names |= {text.split()[0]: f"lost by {worker}" for worker, text in self.world.lost.items()}

        def named(match: re.Match[str]) -> str:
            if match[0].startswith("token"):
                return names.get(match[0], "old token")
            return f"now{(int(match[0]) - now) // 1000:+d}" if abs(int(match[0]) - START) < 10**9 else match[0]

        left_out = (CLOCK, "jdq:workers", "jdq:jobs")
        keys = [key for key in sorted(self.client.keys()) if key not in left_out and not key.endswith(":log")]
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        kinds = pipe.execute()
        for key, kind in zip(keys, kinds, strict=True):
            READS[kind](pipe, key)
        values = [sorted(map(str, v.items())) if isinstance(v, dict) else sorted(v) for v in pipe.execute()]
        state = (list(zip(keys, values, strict=True)), sorted(self.world.committed.items()), self.world.ends)
        text = re.sub(r"token-\d+|\d{13}", named, re.sub(r'"since":\d+', "", repr(state)))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    # Actions

    def call(self, argument: Script, reply: type[Any]) -> Any:
        return scripts.call(self.client, argument, reply)

    def token(self) -> str:
        self.world.tokens += 1
        return f"token-{self.world.tokens}"

    def start(self) -> None:
        """A job whose first chunk plans two more, a job that waits for it, and two live workers."""
        self.client.flushall()
        self.client.set(CLOCK, START)
        self.client.hset("jdq:reclaim", "at", START)
        for job, after in ((JOB, ()), (DEPENDENT, (JOB,))):
            spec = encode_spec(SPEC)
            create = Create(job=job, kind="k", spec=spec, queue="cpu", priority=5, after=after)
            self.call(create, list[Any])
        for worker in self.workers:
            self.beat(worker)

    def beat(self, worker: str) -> None:
        self.call(Heartbeat(worker, "{}", "cpu"), str)

    def take(self, worker: str, job: str, *, lose: bool = False) -> None:
        token = self.token()
        leased = self.call(Next(job, worker, self.workers.index(worker), "cpu", token, LEASE_MS), list[Leased])
        if not leased:
            return
        if lose:
            self.world.lost[worker] = f"{token} {job}"
            return
        self._hold(worker, leased[0], token)

    def repeat(self, worker: str) -> None:
        """Next again, because its reply was lost."""
        token, job = self.world.lost.pop(worker).split()
        leased = self.call(Next(job, worker, self.workers.index(worker), "cpu", token, LEASE_MS), list[Leased])
        check(len(leased) == 1, "a repeated next gets a chunk")
        self._hold(worker, leased[0], token)

    def _hold(self, worker: str, leased: Leased, token: str) -> None:
        self.world.held[worker] = Held(leased.job, leased.chunk, token)

    def commit(self, worker: str, *, times: int = 1) -> None:
        held = self.world.held.pop(worker)
        holds = self.holder(held.job, held.chunk) == held.token
        plans = held.job == JOB and held.chunk == 0
        follow_up = FollowUpChunks(chunks=CHUNKS, queue="cpu") if plans else None
        argument = Commit(held.job, held.chunk, held.token, worker=worker, counts={"n": 1}, follow_up=follow_up)
        answers = [self.call(argument, tuple[str, list[TicketOrder]]) for _ in range(times)]
        check(all(answer == answers[0] for answer in answers), "a repeated commit gets the same answer")
        answer, tickets = answers[0]
        check((answer == "lost") != holds, "only the present holder commits")
        if answer == "lost":
            return
        name = f"{held.job}/{held.chunk}"
        self.world.committed[name] = self.world.committed.get(name, 0) + 1
        self.world.ends += answer == "last" and held.job == JOB
        self.world.released += any(order.job == DEPENDENT for order in tickets) and held.job == JOB

    def release(self, worker: str, what: str) -> None:
        held = self.world.held.pop(worker)
        delay = 1000 if what == "fault" else 0
        argument = Release(held.job, held.chunk, held.token, what=what, reason="r", delay_ms=delay)  # type: ignore[arg-type]
        self.call(argument, list[TicketOrder])

    def renew(self, worker: str) -> None:
        held = self.world.held[worker]
        renewed = RenewedLease(held.job, held.chunk, held.token)
        [verdict] = self.call(Renew(worker, LEASE_MS, (renewed,)), list[str])
        check((verdict == "ok") == (self.holder(held.job, held.chunk) == held.token), "a renewal tells the truth")
        if verdict != "ok":
            del self.world.held[worker]

    def kill(self, worker: str) -> None:
        """The main process sees its child die: the ledger is told."""
        self.world.held.pop(worker, None)
        self.world.lost.pop(worker, None)
        self.call(EndProcess(worker, "death", "killed", self.workers.index(worker)), tuple[int, list[TicketOrder]])

    def vanish(self, worker: str) -> None:
        """The machine is gone: nobody tells the ledger."""
        self.world.held.pop(worker, None)
        self.world.lost.pop(worker, None)

    def pass_ms(self, milliseconds: int) -> None:
        self.client.incrby(CLOCK, milliseconds)

    def reclaim(self) -> list[TicketOrder]:
        tickets: list[TicketOrder] = self.call(Reclaim(LEASE_MS, RECLAIM_MS), tuple[int, list[TicketOrder]])[1]
        return tickets

    def watch(self, milliseconds: int) -> None:
        """Time passes while somebody looks at the leases every 5 s."""
        for _ in range(milliseconds // RECLAIM_MS):
            self.pass_ms(RECLAIM_MS)
            self.reclaim()

    def holder(self, job: str, chunk: int) -> str | None:
        text = self.client.hget(f"jdq:job:{job}:holders", str(chunk))
        return msgspec.json.decode(text)["token"] if text else None

    def actions(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Every action that is possible in this state, by name."""
        for worker in self.workers:
            if worker in self.world.held:
                yield f"commit {worker}", partial(self.commit, worker)
                yield f"commit {worker} twice", partial(self.commit, worker, times=2)
                yield f"drain {worker}", partial(self.release, worker, "drain")
                yield f"fault {worker}", partial(self.release, worker, "fault")
                yield f"renew {worker}", partial(self.renew, worker)
                yield f"kill {worker}", partial(self.kill, worker)
                yield f"vanish {worker}", partial(self.vanish, worker)
            elif worker in self.world.lost:
                yield f"repeat {worker}", partial(self.repeat, worker)
                yield f"vanish {worker}", partial(self.vanish, worker)
            else:
                for job in (JOB, DEPENDENT):
                    yield f"next {worker} {job}", partial(self.take, worker, job)
                yield f"next {worker} {JOB}, reply lost", partial(self.take, worker, JOB, lose=True)
        yield "an hour forward", lambda: self.pass_ms(3_600_000)
        yield "an hour back", lambda: self.pass_ms(-3_600_000)
        yield "reclaim", self.reclaim
        yield "70 s, watched", lambda: self.watch(70_000)
        yield "cancel", lambda: self.call(Cancel(JOB, self.token()), str)
        yield "retry", lambda: self.call(Retry(JOB, self.token()), list[Any])


def check(holds: bool, what: str) -> None:
    if not holds:
        raise Violated(what)


class Checker:
    """The invariants, in any state."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.client = explorer.client

    def check(self) -> None:
        world = self.explorer.world
        check(all(n <= 1 for n in world.committed.values()), "a chunk counts once")
        check(world.ends <= 1, "a job ends once")
        check(world.released <= 1, "a dependent is started once")
        for job in (JOB, DEPENDENT):
            self._check_job(job)

    def _check_job(self, job: str) -> None:
        fields = self.client.hgetall(f"jdq:job:{job}")
        total, done, fresh = (int(fields[name]) for name in ("chunks_total", "chunks_done", "next"))
        leases = self.client.zrange(f"jdq:job:{job}:leases", 0, -1)
        holders = self.client.hkeys(f"jdq:job:{job}:holders")
        parts = [leases, self.client.zrange(f"jdq:job:{job}:returned", 0, -1)]
        parts.append(self.client.zrange(f"jdq:job:{job}:delayed", 0, -1))
        seen = [chunk for part in parts for chunk in part]
        committed = [name.split("/")[1] for name in self.explorer.world.committed if name.startswith(f"{job}/")]
        check(sorted(leases) == sorted(holders), f"{job}: each lease has a holder")
        check(len(seen) == len(set(seen)), f"{job}: a chunk is in one set")
        check(sorted(seen + committed) == sorted(map(str, range(fresh))), f"{job}: each chunk is somewhere")
        check(
            done == len(committed) and int(fields.get("count:n", 0)) == done, f"{job}: the counts are those of commits"
        )
        state = fields["state"]
        check((state == "succeeded") == (done == total), f"{job}: succeeded is all committed")
        opened = bool(self.client.sismember("jdq:open", job)), bool(self.client.sismember("jdq:open:cpu:5", job))
        waiting = bool(self.client.exists(f"jdq:job:{job}:after"))
        check(opened == ((state not in ENDED) and not waiting,) * 2, f"{job}: open is ready and not ended")
        check(not (leases and state in ENDED), f"{job}: an ended job has no lease")

    def check_liveness(self) -> None:
        """By reclaims and the tickets that they order, all jobs end; workers do nothing else than follow tickets."""
        explorer = self.explorer
        for _ in range(60):
            for worker in explorer.workers:
                explorer.beat(worker)
                self.client.hdel("jdq:workers:busy", worker)
            explorer.pass_ms(RECLAIM_MS)
            orders = explorer.reclaim()
            for order in orders:
                for worker in explorer.workers[: order.count]:
                    self._work(worker, order.job)
            if all(self.client.hget(f"jdq:job:{job}", "state") in ENDED for job in (JOB, DEPENDENT)):
                return
            if self._waits_for_a_user():
                return
        check(False, "all jobs end")

    def _waits_for_a_user(self) -> bool:
        return self.client.hget(f"jdq:job:{JOB}", "state") in ENDED and not self.client.scard("jdq:open")

    def _work(self, worker: str, job: str) -> None:
        explorer = self.explorer
        explorer.vanish(worker)
        explorer.take(worker, job)
        while worker in explorer.world.held:
            explorer.commit(worker)
            explorer.take(worker, job)
        self.client.hdel("jdq:workers:busy", worker)


@dataclass(frozen=True)
class State:
    """A state to go on from. path: the actions that led there."""

    dump: dict[bytes, bytes]
    world: World
    path: tuple[str, ...]


def explore(explorer: Explorer, *, depth: int, most: int, seconds: float = float("inf")) -> tuple[int, int]:
    """Breadth first, to this depth, this many states or this time; (states, depth reached). Raises Violated."""
    checker = Checker(explorer)
    explorer.start()
    seen = {explorer.digest()}
    level = [State(explorer.save(), explorer.world.copy(), ())]
    ends = time.monotonic() + seconds
    for reached in range(1, depth + 1):
        following: list[State] = []
        for state in level:
            explorer.restore(state.dump, state.world)
            for name, _ in list(explorer.actions()):
                explorer.restore(state.dump, state.world)
                path = (*state.path, name)
                following += _step(explorer, checker, seen, path)
                if len(seen) >= most or time.monotonic() > ends:
                    return len(seen), reached
        level = following
    return len(seen), depth


def _step(explorer: Explorer, checker: Checker, seen: set[bytes], path: tuple[str, ...]) -> list[State]:
    """Takes the path's last action; the new state, unless it was seen. Checks that all jobs can still end."""
    try:
        dict(explorer.actions())[path[-1]]()
        checker.check()
        digest = explorer.digest()
        if digest in seen:
            return []
        seen.add(digest)
        state = State(explorer.save(), explorer.world.copy(), path)
        checker.check_liveness()
        checker.check()
    except (Violated, redis.RedisError) as error:
        raise Violated(f"{error}\n  after: {' | '.join(path)}") from error
    return [state]


def explorer_on(server: RedisServer) -> Explorer:
    """An explorer on an empty server; the scripts go by the test's clock."""
    scripts._source = source_on_test_clock
    return Explorer(server.client(), redis.Redis(unix_socket_path=str(server.socket)))


@click.command()
@click.option("--depth", type=int, default=20, show_default=True, help="Maximum number of actions.")
@click.option("--states", type=int, default=1_000_000, show_default=True, help="Maximum number of states.")
@click.option("--minutes", type=float, default=60, show_default=True, help="Maximum time.")
def main(depth: int, states: int, minutes: float) -> None:
    """Explore the states of the ledger; exit code 1 where an invariant does not hold."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        server = RedisServer(Path(folder)).start()
        began = time.monotonic()
        try:
            found, reached = explore(explorer_on(server), depth=depth, most=states, seconds=60 * minutes)
        except Violated as violated:
            click.echo(f"violated: {violated}", err=True)
            sys.exit(1)
        finally:
            server.kill()
    click.echo(f"{found:,} states, {reached} actions deep, in {time.monotonic() - began:.0f} s: no violation")


if __name__ == "__main__":
    main()
