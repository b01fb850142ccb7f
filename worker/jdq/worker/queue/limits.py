"""The ledger's constants: Python reads them here, and every Lua script sees them as the table `limits`."""

import msgspec

from jdq.worker.queue.contract import NOBODY, QUEUES, Queue

# Log lines in Redis: per job, of all jobs that have not ended, and characters per line.
LINES_KEPT, LINES_IN_ALL, LINE_LENGTH = 2_000, 100_000, 4_000
PRIORITIES = {"high": 3, "normal": 5, "low": 7}  # the lower goes first; 0 is for repairs (tickets.py)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Times in milliseconds."""

    queues: tuple[Queue, ...] = QUEUES
    priorities: tuple[int, ...] = tuple(sorted(PRIORITIES.values()))
    # Attempts at a chunk that end badly before its job fails, by cause: an exception; a lease that was lost; a process
    # that died while it worked on nothing else. A chunk of texts is halved after each death.
    max_fault: int = 3
    max_expired: int = 10
    max_death: int = 3
    max_halvings: int = 60
    max_delay_ms: int = 60_000  # after a fault
    # A worker leaves a chunk that it failed to live others; after a death, others only have precedence. A worker
    # that is idle and has not taken the chunk for this long is ignored: its process is stuck, or messages were lost.
    avoid_after_death_ms: int = 10_000
    avoid_beside_idle_ms: int = 60_000
    sick_after: int = 3  # chunks that failed at their first attempt, in a row, quarantine their worker
    nobody: str = NOBODY
    # An owner's device time: time this old counts half; the first chunk of a job is charged this in advance.
    usage_halves_ms: int = 3_600_000
    first_charge_ms: int = 10_000
    room_ms: int = 60_000  # how long an urgent job waits for a fine-tune to make room before another one is told to
    log_length: int = 500  # attempts and their reasons that a job keeps
    jobs_kept: int = 10_000  # ended jobs in Redis; those that ended before them are only in the store
    worker_timeout_ms: int = 15_000  # a worker without a heartbeat for this long counts as dead
    worker_listed_ms: int = 600_000  # how long a dead one is listed
    worker_forgotten_ms: int = 86_400_000
    # What the ledger has about each listed worker, by name.
    worker_hashes: tuple[str, ...] = tuple(
        f"jdq:workers{part}"
        for part in ("", ":queue", ":busy", ":idle", ":faults", ":sick", ":speed", ":texts", ":tokens")
    )
    gpu_lease_ms: int = 15_000
    totals: tuple[str, ...] = (
        "computed",
        "reused",
        "truncated",
        "tokens",
        "device_ms",
    )  # counts that are also added up over all jobs
    # A job from which no chunk was taken for this long gets another ticket; the wait then doubles, up to the maximum.
    ticket_wait_ms: int = 10_000
    ticket_wait_max_ms: int = 600_000


LIMITS = Limits()
