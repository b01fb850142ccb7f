"""Canary texts: workers whose encoder gives other features than most others' are quarantined.

No checksum fits all devices to the bit, so features are compared with a tolerance, and workers with each other.
"""

from __future__ import annotations

import time

import msgspec
import numpy as np
import redis

from jdq.store.spaces.definition import FeatureSpace
from jdq.worker.encoder.by_name import FeatureEncoder
from jdq.worker.encoder.errors import NotFiniteFeatures
from jdq.worker.process.errors import WorkerSick
from jdq.worker.process.runtime import Runtime

TEXTS = (
    "A sentence that every worker encodes.",
    "Data engineer, Berlin. " + "You build pipelines, review code and answer for what runs at night. " * 4,
)
# A flipped bit in the weights shows in all columns, so a few do.
COLUMNS = 32
# Of the largest number: the difference between GPUs, between a GPU and a CPU.
TOLERANCE = {"float32": 0.01, "bfloat16": 0.08, "float8": 0.3, "int8": 0.1}


class Answer(msgspec.Struct, frozen=True):
    """One worker's features of the canary texts. at: when it first gave them, in seconds since 1970."""

    at: float
    features: list[float]


def check_canary(runtime: Runtime, encoder: FeatureEncoder, space: str, definition: FeatureSpace) -> None:
    """Encodes the canary texts when an encoder is new to this process and every `self_test_s`. Raises WorkerSick."""
    due = runtime.canary_due.get(space, 0.0)
    if time.monotonic() < due:
        return
    mine = canary_features(encoder)
    tolerance = TOLERANCE[definition.precision]
    others = exchanged(runtime.ledger.client, f"jdq:canaries:{space}", runtime.worker, mine)
    if not trusted(mine, others.pop(runtime.worker), list(others.values()), tolerance):
        raise WorkerSick("the features of the canary texts differ from those of other workers")
    runtime.canary_due[space] = time.monotonic() + runtime.config.self_test_s


def canary_features(encoder: FeatureEncoder) -> np.ndarray:
    """A few columns of the canary texts' features, in one row. Raises WorkerSick where they are not finite."""
    try:
        features = encoder.encode(encoder.tokenize(TEXTS))
    except NotFiniteFeatures as error:
        raise WorkerSick("the features of the canary texts are not finite") from error
    if not np.isfinite(features).all():
        raise WorkerSick("the features of the canary texts are not finite")
    row: np.ndarray = features[:, :COLUMNS].ravel().astype(np.float64)
    return row


def exchanged(client: redis.Redis, key: str, worker: str, mine: np.ndarray) -> dict[str, Answer]:
    """The first answer of each worker, this one's included, after storing it. Raises redis.RedisError."""
    answer = Answer(time.time(), [float(f"{number:.6g}") for number in mine])
    client.hsetnx(key, worker, msgspec.json.encode(answer))
    return {str(name): msgspec.json.decode(text, type=Answer) for name, text in client.hgetall(key).items()}


def trusted(mine: np.ndarray, first: Answer, others: list[Answer], tolerance: float) -> bool:
    """Whether this worker's features are those that it gave first, and not those of a minority.

    Of two workers that differ, the one that came later is not trusted.
    """
    if not close(mine, first, tolerance):
        return False
    against = [answer for answer in others if not close(mine, answer, tolerance)]
    n_for = 1 + len(others) - len(against)
    if n_for == len(against):
        return first.at < min(answer.at for answer in against)
    return n_for > len(against)


def close(mine: np.ndarray, answer: Answer, tolerance: float) -> bool:
    """Whether the features are equal up to the tolerance."""
    theirs = np.array(answer.features)
    return mine.shape == theirs.shape and bool(np.abs(mine - theirs).max() <= tolerance * np.abs(mine).max())
