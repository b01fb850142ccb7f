"""How much a head's metrics vary with the split: it is trained and measured again on splits with other seeds."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.worker.heads.crossval import summary
from jdq.worker.heads.features import Check, Features
from jdq.worker.heads.head import TrainedHead
from jdq.worker.heads.labels import Labels
from jdq.worker.heads.options import METRICS, HeadOptions
from jdq.worker.heads.split import TEST, Split, make_split
from jdq.worker.heads.train import train_head

UNUSED = 3  # a part that is neither trained on nor measured


def over_splits(
    head: TrainedHead,
    X: Features,
    y: Labels,
    options: HeadOptions,
    *,
    repeats: int,
    keys: npt.NDArray[np.uint8],
    groups: npt.NDArray[np.str_] | None,
    learnt: Callable[[Split], npt.NDArray[np.bool_]],
    allowed: Sequence[str],
    check: Check,
) -> TrainedHead:
    """The head, whose record has the mean, the spread and the value of each metric on `repeats` splits, its own first.

    Arguments as in `train_head` and `make_split`. learnt: the rows of a split that must not be measured.
    """
    values = [head.record.metrics]
    for seed in range(1, repeats):
        split = make_split(y, keys, seed=seed, label_separator=options.label_separator, groups=groups)
        parts = np.where(learnt(split) & (split.parts == TEST), np.uint8(UNUSED), split.parts)
        once = msgspec.structs.replace(options, cv=None)
        split = dataclasses.replace(split, parts=parts)
        values.append(train_head(X, y, split, once, keys=keys, allowed=allowed, check=check).record.metrics)
    scores = {name: [float(metrics[name]) for metrics in values] for name in METRICS if _measured(name, values)}
    spread: dict[str, Any] = {"splits": repeats, "metrics": {name: summary(of) for name, of in scores.items()}}
    return dataclasses.replace(head, record=msgspec.structs.replace(head.record, repeats=spread))


def _measured(name: str, values: Sequence[dict[str, Any]]) -> bool:
    return all(metrics.get(name) is not None for metrics in values)
