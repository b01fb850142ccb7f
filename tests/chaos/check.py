"""What is checked after the faults: that each job ended, once, with every feature right."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from jdq.store import open_store
from jdq.worker.encoder.hashing import hashed_feature
from tests.chaos.fleet import Fleet

DIM = 16


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
    preempted: int = 0
    owners: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        unnamed = self.killers - self.killers_named
        return not (self.lost or self.wrong or self.ended_twice or self.without_end or self.failed or unnamed)


def check(fleet: Fleet, tables: dict[str, list[str]], findings: Findings) -> None:
    """Checks each job: that it ended once, skipped only what kills, and has every feature of its table's texts."""
    store = open_store(fleet.stack.home / "store")
    for job in fleet.jobs_now():
        findings.jobs += 1
        findings.owners[job.owner] += 1
        findings.preempted += sum("made room" in event["reason"] for event in job.log)
        if not job.state.ended:
            findings.without_end += 1
            continue
        if job.state != "succeeded":
            findings.failed.append(f"{job.id}: {job.error}")
            continue
        if job.kind == "fine-tune":
            continue
        name = str(job.spec.dataset)
        texts = tables[name]
        # The same line twice is one whose reply was lost.
        lines = set(fleet.patiently("logs", job.id).splitlines())
        ends = sorted(line for line in lines if "chunk committed (last)" in line)
        findings.ended_twice += len(ends) > 1
        findings.details += ends if len(ends) > 1 else []
        killers = sum("[kill]" in text for text in texts)
        findings.killers += killers
        findings.killers_named += job.counts.get("skipped", 0) == killers == 1
        findings.lost += job.counts.get("skipped", 0) != killers
        findings.lost += job.counts["texts_total"] - job.counts["texts_done"]
        findings.lost += job.chunks_total - job.chunks_done
        if killers:
            continue  # its dataset has a row without features, which load() refuses
        features, _, _ = store.load(name)
        expected = np.array([hashed_feature(text, DIM) for text in texts], dtype=np.float16)
        findings.rows += len(texts)
        compare(job.id, features != expected, findings)


def compare(job: str, differs: np.ndarray, findings: Findings) -> None:
    """Counts the rows of a job in which a number is not what it should be."""
    wrong = differs.any(axis=1)
    findings.wrong += int(wrong.sum())
    if wrong.any():
        flipped = int((wrong & ~differs[:, 1:].any(axis=1)).sum())
        rows = np.flatnonzero(wrong) + 1
        findings.details.append(
            f"{job}: {len(rows)} wrong rows, from {rows[0]} to {rows[-1]}; {flipped} of them by a flipped bit"
        )
