"""Canary texts: a worker is quarantined if its features of these texts differ from those that workers have agreed on.

Devices do not agree to the last bit, so features are compared with a tolerance. What the first two workers agree on
holds for the feature space from then on, even after all workers were restarted; otherwise the first one to answer would
be believed, which may be the one that computes wrong numbers.
"""

import math
import time

import msgspec
import numpy as np

from jdq.store.spaces.definition import FeatureSpace
from jdq.worker.encoder.by_name import FeatureEncoder
from jdq.worker.encoder.errors import NotFiniteFeatures
from jdq.worker.process.errors import WorkerSick
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.limits import LIMITS

TEXTS = (
    "A sentence that every worker encodes.",
    "Data engineer, Berlin. " + "You build pipelines, review code and answer for what runs at night. " * 4,
)
# A flipped bit in the weights shows in all columns, so a few suffice.
COLUMNS = 32
AGREED = ""  # in place of a worker's name
# As a share of the largest number: the difference between GPUs, and between a GPU and a CPU.
TOLERANCE = {"float32": 0.01, "bfloat16": 0.08, "float8": 0.3, "int8": 0.1}


class Answer(msgspec.Struct, frozen=True):
    """One worker's features of the canary texts. at: since when it has had them, in seconds since 1970."""

    at: float
    features: list[float]


def check_canary(runtime: Runtime, encoder: FeatureEncoder, space: str, definition: FeatureSpace) -> None:
    """Encodes the canary texts when an encoder is new to this process and every `self_test_s`. Raises WorkerSick."""
    due = runtime.canary_due.get(space, 0.0)
    if time.monotonic() < due:
        return
    mine = canary_features(encoder)
    tolerance = TOLERANCE[definition.precision]
    answers = Answers(runtime, space)
    earlier, others = answers.exchange(mine)
    agreed = answers.agreed()
    if agreed is not None and not close(mine, agreed, tolerance):
        raise WorkerSick("the features of the canary texts differ from those that workers have agreed on")
    if agreed is None and not trusted(mine, earlier, others, tolerance):
        raise WorkerSick("the features of the canary texts differ from its own earlier ones or most other workers'")
    if agreed is None and any(close(mine, answer, tolerance) for answer in others):
        answers.agree(mine)
    if not close(mine, earlier, tolerance):
        answers.store(mine)
    runtime.canary_due[space] = time.monotonic() + runtime.config.self_test_s


def canary_features(encoder: FeatureEncoder) -> np.ndarray:
    """A few columns of the canary texts' features, in one row. Raises WorkerSick if they are not finite."""
    try:
        features = encoder.encode(encoder.tokenize(TEXTS))
    except NotFiniteFeatures as error:
        raise WorkerSick("the features of the canary texts are not finite") from error
    if not np.isfinite(features).all():
        raise WorkerSick("the features of the canary texts are not finite")
    row: np.ndarray = features[:, :COLUMNS].ravel().astype(np.float64)
    return row


class Answers:
    """The workers' answers in one feature space. All methods raise redis.RedisError."""

    def __init__(self, runtime: Runtime, space: str) -> None:
        self._client = runtime.ledger.client
        self._worker = runtime.worker
        self._workers = runtime.jobbook.workers()
        self._key = f"jdq:canaries:{space}"

    def exchange(self, mine: np.ndarray) -> tuple[Answer, list[Answer]]:
        """This worker's earlier answer, or this one if it has none, and those of the others that live."""
        if self._worker not in self._current():
            self.store(mine)
        # Read after the answer is stored, so that if two workers answer at the same time, one sees the other's answer.
        current = self._current()
        return current.pop(self._worker), list(current.values())

    def store(self, mine: np.ndarray) -> None:
        """Replaces this worker's earlier answer, and removes those of workers that are gone."""
        known = {worker.name for worker in self._workers} | {AGREED}
        if gone := [name for name in self._client.hkeys(self._key) if name not in known]:
            self._client.hdel(self._key, *gone)
        self._client.hset(self._key, self._worker, _encoded(mine))

    def agreed(self) -> Answer | None:
        """What two workers agreed on first."""
        text = self._client.hget(self._key, AGREED)
        return None if text is None else msgspec.json.decode(text, type=Answer)

    def agree(self, mine: np.ndarray) -> None:
        """Makes this the answer that all others are compared with, unless there is one."""
        self._client.hsetnx(self._key, AGREED, _encoded(mine))

    def _current(self) -> dict[str, Answer]:
        """By worker: answers of live workers since they started, because a restart may have brought another build.

        A worker is live if its last heartbeat is near the newest one, whatever the clocks say.
        """
        newest = max((worker.last_seen for worker in self._workers), default=0.0)
        silent_s = LIMITS.worker_timeout_ms / 1000
        started = {w.name: w.started for w in self._workers if newest - w.last_seen <= silent_s}
        started.setdefault(self._worker, 0.0)
        answers = {
            str(name): msgspec.json.decode(text, type=Answer) for name, text in self._client.hgetall(self._key).items()
        }
        return {name: answer for name, answer in answers.items() if answer.at >= started.get(name, math.inf)}


def _encoded(features: np.ndarray) -> bytes:
    return msgspec.json.encode(Answer(time.time(), [float(f"{number:.6g}") for number in features]))


def trusted(mine: np.ndarray, earlier: Answer, others: list[Answer], tolerance: float) -> bool:
    """Whether these features are those of a majority; the worker's earlier ones count against them if they differ.

    Of two answers that differ, the later one is not trusted.
    """
    changed = not close(mine, earlier, tolerance)
    against = [answer for answer in others if not close(mine, answer, tolerance)]
    n_for = 1 + len(others) - len(against)
    if changed:
        return n_for > len(against) + 1
    if n_for == len(against):
        return earlier.at < min(answer.at for answer in against)
    return n_for > len(against)


def close(mine: np.ndarray, answer: Answer, tolerance: float) -> bool:
    """Whether the features are equal up to the tolerance."""
    theirs = np.array(answer.features)
    return mine.shape == theirs.shape and bool(np.abs(mine - theirs).max() <= tolerance * np.abs(mine).max())
