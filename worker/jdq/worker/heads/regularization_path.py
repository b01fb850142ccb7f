"""The path of C: from strong to weak regularization, each value scored by cross-validation.

Each fit starts from the previous one; the path ends when the loss has risen twice. The loss of a C is that of its
calibrated probabilities, because the head will be calibrated by the same cross-fitted scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.choice_folds import ChoiceFolds, one_thread_each
from jdq.worker.heads.features import Check
from jdq.worker.heads.predictors import link_of
from jdq.worker.heads.scaled_regression import Regression
from jdq.worker.heads.softmax_regression import Progress, Solution
from jdq.worker.heads.temperature import best_temperature, log_loss, share_right

# Of features whose columns have the variance 1.
PATH = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
RISES = 2
FEW_C = 0.1  # if there are too few texts for cross-validation
CHOICE_TOLERANCE, CHOICE_STEPS = 1e-3, 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """One C: its cross-fitted scores (known rows, classes), and the loss and accuracy of their calibrated
    probabilities.
    """

    C: float
    log_loss: float
    accuracy: float
    scores: npt.NDArray[np.float32]

    @property
    def record(self) -> dict[str, Any]:
        return {"C": self.C, "log_loss": self.log_loss, "accuracy": self.accuracy}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """The points of the path, and the C of the lowest loss."""

    path: list[Point]
    C: float
    scores: npt.NDArray[np.float32]


def choose(folds: ChoiceFolds, regression: Regression, path: tuple[float, ...], check: Check) -> Choice:
    """Cross-validates each C of the path."""
    points = list(_points(folds, regression, path, check)) if folds.known.any() else []
    best = min(points, key=lambda point: point.log_loss, default=None)
    if best is None:
        C = path[0] if len(path) == 1 else FEW_C
        return Choice(path=[], C=C, scores=np.zeros((0, len(folds.context.targets.classes)), dtype=np.float32))
    return Choice(path=points, C=best.C, scores=best.scores)


def _points(folds: ChoiceFolds, regression: Regression, path: tuple[float, ...], check: Check) -> Iterator[Point]:
    """The points of the path, as far as it goes. The folds are fitted side by side, each on one thread."""
    solutions: Sequence[Solution | None] = [None] * len(folds.parts)
    points: list[Point] = []
    progress = Progress(check, last=50)
    steady = Progress(progress.at_block)
    parts, held = [part for part, _ in folds.parts], [held_out for _, held_out in folds.parts]
    with one_thread_each() as threads:
        for number, C in enumerate(path):
            progress.at_share(number / len(path))
            fit = partial(regression.fit, C=C, max_iter=CHOICE_STEPS, tol=CHOICE_TOLERANCE, progress=steady)
            fitted = list(threads.map(fit, parts, solutions))
            scores = folds.scores([regression.scores(*each) for each in zip(parts, fitted, held, strict=True)])
            points.append(_point(C, scores, folds))
            yield points[-1]
            if risen(points):
                return
            solutions = fitted


def risen(points: list[Point]) -> bool:
    """Whether the last RISES losses are all above the lowest."""
    best = min(range(len(points)), key=lambda number: points[number].log_loss)
    return len(points) - 1 - best >= RISES


def _point(C: float, scores: npt.NDArray[np.float32], folds: ChoiceFolds) -> Point:
    link = link_of(multi_label=folds.context.targets.multi_label)
    temperature = best_temperature(scores, folds.codes, link, folds.weights)
    loss = log_loss(scores / temperature, folds.codes, link, folds.weights)
    return Point(C=C, log_loss=loss, accuracy=share_right(scores, folds.codes), scores=scores)
