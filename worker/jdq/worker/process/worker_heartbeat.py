"""The worker heartbeat: a thread of a worker's main process that reports it, renews its GPU and reclaims leases.

It runs outside the process that does the work, so that a worker that is busy for hours still sends heartbeats.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Protocol

import msgspec
import redis

from jdq.worker.process.devices import Gpu
from jdq.worker.process.progress_watch import ProgressWatch
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.self_test import Recovery, SelfTest
from jdq.worker.queue.contract import PROTOCOL
from jdq.worker.queue.records import GpuUse

log = logging.getLogger(__name__)

# Makes the working process stop if the ledger cannot tell it to; it ends a process that has not worked on anything yet.
STOP_SIGNAL = signal.SIGUSR2


class Shortage(Protocol):
    """Why a GPU must be left to others, or ''."""

    def __call__(self, gpu: Gpu, *, held: bool) -> str: ...


GpuUseOf = Callable[[Gpu], GpuUse | None]  # None if the driver does not answer


class WorkerHeartbeat(threading.Thread):
    """Sends a heartbeat every `heartbeat_s`, and reclaims expired leases every `reclaim_s`.

    An error that is not one of the ledger ends the worker, which without heartbeats would seem dead.
    """

    def __init__(self, runtime: Runtime, *, device: str) -> None:
        super().__init__(name="worker-heartbeat", daemon=True)
        self._runtime = runtime
        self._device = device
        self._gpu: Gpu | None = None
        self._shortage: Shortage | None = None
        self._use_of: GpuUseOf = lambda _: None
        self._condition = "starting"
        self._sick = ""
        self._serves = True  # whether this worker consumes its queue
        self._recovery = Recovery(SelfTest(device), self._recover)
        config = runtime.config
        self._lease_watch = ProgressWatch(config.stall_s, interval_s=config.heartbeat_s, on_cpu=False)
        self._end_child: Callable[[signal.Signals], object] = lambda _: None
        self._take_tickets: Callable[[bool], object] = lambda _: None
        self._started_at = time.time()
        self._stopping = threading.Event()
        self._gone = threading.Event()

    def run(self) -> None:
        try:
            self._run()
        finally:
            if not self._gone.is_set():
                log.critical("the worker heartbeat ended; this worker exits, to be restarted")
                os.kill(os.getpid(), signal.SIGTERM)

    def _run(self) -> None:
        self._try(self._runtime.ledger.register)
        reclaimed_at = 0.0
        drained = False
        while not self._gone.is_set():
            self._try(self._send)
            if self._condition == "ready":
                self._try(lambda: self._recovery.step(bool(self._sick)))
                self._try(self._look_for_stray_process)
            if self._stopping.is_set() and not drained:
                log.info("this worker is stopping")
                drained = self._try(self._runtime.ledger.drain)
                if not drained:
                    self._end_child(STOP_SIGNAL)
            if time.monotonic() - reclaimed_at >= self._runtime.config.reclaim_s:
                reclaimed_at = time.monotonic()
                self._try(self._reclaim)
            # An order to stop must reach the working process immediately, not one heartbeat later.
            (self._gone if drained else self._stopping).wait(self._runtime.config.heartbeat_s)

    def lease_gpu(
        self, gpus: Sequence[Gpu], shortage: Shortage | None = None, use_of: GpuUseOf = lambda _: None
    ) -> Gpu:
        """Leases one of the GPUs for as long as this thread lives; waits while there is none, and reports that.

        shortage: why a GPU must be left to others; None: never. use_of: what heartbeats report of the GPU's use.
        """
        self._shortage = shortage
        self._use_of = use_of
        while True:
            short = {gpu.uuid: reason for gpu in gpus if shortage and (reason := shortage(gpu, held=False))}
            free = [gpu.uuid for gpu in gpus if gpu.uuid not in short]
            if free and (uuid := self._runtime.ledger.lease_gpu(free)):
                self._gpu = next(gpu for gpu in gpus if gpu.uuid == uuid)
                self._device = f"cuda {self._gpu.name} {uuid}"
                self._condition = "starting"
                return self._gpu
            self._wait_for_gpu("; ".join([f"all {len(free)} GPUs are taken"] * bool(free) + list(short.values())))
            time.sleep(self._runtime.config.heartbeat_s)

    def _wait_for_gpu(self, reason: str) -> None:
        if self._condition != "waiting":
            log.warning("this worker waits for a GPU: %s", reason)
        self._condition = "waiting"
        self._device = f"waits: {reason}"

    def test_device(self, device: str) -> None:
        """Quarantines this worker if its device does not compute; waits for the self-test."""
        test = SelfTest(device)
        self._recovery = Recovery(test, self._recover)
        if fault := test.wait():
            log.error("%s; this worker takes no work", fault)
            while not self._try(lambda: self._runtime.ledger.quarantine(fault)):
                time.sleep(self._runtime.config.heartbeat_s)

    def child_died(self, pid: int, reason: str) -> None:
        """Returns the chunks of the working process immediately, so that another worker takes them."""
        self._try(lambda: self._end_process(pid, reason))

    def ready(self, end_child: Callable[[signal.Signals], object], take_tickets: Callable[[bool], object]) -> None:
        """Reports that the worker takes work from now on.

        end_child: sends a signal to the working process, which is replaced when it ends. take_tickets: starts or stops
        consuming the queue; a quarantined or drained worker would take others' tickets.
        """
        self._end_child = end_child
        self._take_tickets = take_tickets
        self._condition = "ready"
        self._try(self._send)

    def stop(self) -> None:
        """Makes the working process release its chunks, because this worker is about to end. For signal handlers."""
        self._runtime.end()
        self._stopping.set()

    def deregister(self) -> None:
        """Ends the thread and removes the worker from the ledger."""
        self._gone.set()
        self._stopping.set()
        self.join(timeout=5)
        gpu = self._gpu
        self._try(lambda: self._runtime.ledger.deregister(gpu.uuid if gpu else None))

    def _send(self) -> None:
        description = {
            "pid": os.getpid(),
            "host": self._runtime.config.host,
            "queue": self._runtime.queue,
            "device": self._device,
            "started": self._started_at,
            "condition": self._condition,
            "version": version("jdq"),
            "protocol": PROTOCOL,
            "gpu": self._use_of(self._gpu) if self._gpu else None,
        }
        sick = self._runtime.ledger.heartbeat(description, ready=self._condition == "ready")
        self._sick = sick
        serves = not sick and not self._runtime.ledger.is_drained()
        if self._condition == "ready" and serves != self._serves:
            self._serves = serves
            self._take_tickets(serves)
        if self._gpu:
            self._keep_gpu(self._gpu)

    def _keep_gpu(self, gpu: Gpu) -> None:
        """Renews the lease of the GPU, or ends this worker, to be restarted on another GPU."""
        if self._runtime.ledger.lease_gpu([gpu.uuid]) is None:
            # Heartbeats stopped for so long that another worker has the GPU; two on one would run out of memory.
            log.error("lost the lease of GPU %s; this worker exits, to be restarted", gpu.uuid)
        elif reason := self._shortage(gpu, held=True) if self._shortage else "":
            # It takes no more chunks, and exits when it has finished those that it holds.
            self._runtime.ledger.step_back(reason)
            if self._runtime.ledger.is_busy():
                return
            log.error("%s; this worker exits, to be restarted", reason)
        else:
            return
        self._gpu = None
        os.kill(os.getpid(), signal.SIGTERM)

    def _recover(self) -> bool:
        """Has a new working process replace the one that failed, once that holds no chunk."""
        if self._runtime.ledger.is_busy():
            return False
        self._end_child(signal.SIGTERM)
        self._runtime.ledger.recover()
        return True

    def _look_for_stray_process(self) -> None:
        """Ends a working process that hangs so that not even its lease heartbeat runs: its leases have expired."""
        if not self._runtime.ledger.has_stray_process():
            self._lease_watch.progress()
        if self._lease_watch.look():
            reason = f"the working process has renewed no lease for {self._lease_watch.silent_s:.0f} s"
            log.error("%s; it is killed, and this worker is quarantined", reason)
            self._runtime.ledger.quarantine(reason)
            self._end_child(signal.SIGKILL)
            self._lease_watch.progress()

    def _end_process(self, pid: int, reason: str) -> None:
        returned, tickets = self._runtime.ledger.end_process(pid, reason)
        if returned:
            log.warning("returned %d chunks of process %d: %s", returned, pid, reason)
        self._runtime.send(tickets, repair=True)

    def _reclaim(self) -> None:
        reclaimed, tickets = self._runtime.ledger.reclaim_expired()
        if reclaimed:
            log.warning("reclaimed %d chunks of workers that stopped sending heartbeats", reclaimed)
        self._runtime.send(tickets, repair=True)

    def _try(self, what: Callable[[], object]) -> bool:
        """Whether it succeeded; if the ledger does not answer, the next heartbeat tries again."""
        try:
            what()
        except (redis.RedisError, msgspec.MsgspecError) as error:
            log.warning("the ledger does not answer: %s", error)
            return False
        return True
