"""The path of C: from strong to weak regularization, each value scored by cross-validation.

Each fit starts from the one before; the path ends where the loss has risen twice. The loss of a C is that of its
calibrated probabilities, because the head will be calibrated by the same cross-fitted scores.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_info, threadpool_limits

from jdq.worker.heads.decision import best_thresholds
from jdq.worker.heads.features import Check, Rows
from jdq.worker.heads.fitted import CrossFitted, FitContext
from jdq.worker.heads.folds import fold_rows
from jdq.worker.heads.predictors import apply_link, link_of
from jdq.worker.heads.scaled_regression import Regression, in_memory
from jdq.worker.heads.softmax_regression import Progress, Solution
from jdq.worker.heads.temperature import best_temperature, log_loss

# Of features whose columns have the variance 1.
PATH = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
RISES = 2
FEW_C, TOO_FEW = 0.1, "too few texts for cross-validation"
FOLDS = 5
# C is chosen on so many numbers at most: more rows change it little, and each takes part in dozens of fits.
CHOICE_VALUES, LEAST_CHOICE_ROWS = 6_000_000, 1000
CHOICE_TOLERANCE, CHOICE_STEPS = 1e-3, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One C: the loss and the accuracy of its folds' calibrated probabilities, their temperature, and of label sets the
    best thresholds.
    """

    C: float
    log_loss: float
    accuracy: float
    temperature: float
    log_loss_before: float
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The path, and the point on it with the least loss. rows: on which it was chosen, in so many folds.

    best: None where the texts are too few for cross-validation.
    """

    path: list[Point]
    rows: int
    folds: int
    best: Point | None
    C: float
    cross_fitted: CrossFitted | None = None

    @property
    def temperature(self) -> float:
        return self.best.temperature if self.best else 1.0

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.best.thresholds if self.best else ()

    def record(self, scaling: str) -> dict[str, Any]:
        """What was chosen and why, for the head's record."""
        of = f"{self.folds}-fold cross-validation over {self.rows:,} rows"
        why = f"the least log loss in {of}" if len(self.path) > 1 else f"requested; calibrated by {of}"
        path = [{"C": point.C, "log_loss": point.log_loss, "accuracy": point.accuracy} for point in self.path]
        why = why if self.best else TOO_FEW
        return {"C": self.C, "why": why, "scaling": scaling, "folds": self.folds, "rows": self.rows, "path": path}

    def calibration(self) -> dict[str, Any]:
        """As `calibrate` records it."""
        if self.best is None:
            return {"method": "none", "reason": TOO_FEW}
        return {
            "method": "temperature",
            "temperature": self.temperature,
            "rows": self.rows,
            "by": "cross-fitted scores",
            "log_loss_before": self.best.log_loss_before,
            "log_loss_after": self.best.log_loss,
        }


def choose(context: FitContext, regression: Regression, path: tuple[float, ...]) -> Choice:
    """Cross-validates each C of the path, on some of the train rows."""
    folds = _Folds(context)
    points = list(_points(folds, regression, path, context.check)) if folds.known.any() else []
    best = min(points, key=lambda point: point.log_loss, default=None)
    C = best.C if best else path[0] if len(path) == 1 else FEW_C
    return Choice(
        path=points,
        rows=len(folds.context.train),
        folds=len(folds.parts),
        best=best,
        C=C,
        cross_fitted=folds.cross_fitted(best) if best else None,
    )


def _points(folds: "_Folds", regression: Regression, path: tuple[float, ...], check: Check) -> Iterator[Point]:
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
            scores = [regression.scores(*each) for each in zip(parts, fitted, held, strict=True)]
            points.append(folds.point(C, scores))
            yield points[-1]
            if risen(points):
                return
            solutions = fitted


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """As many threads as the libraries would use for one product, each of which computes its products by itself.

    For products this small, that is faster; on busy cores, many times.
    """
    n_threads = max((each["num_threads"] for each in threadpool_info()), default=1)
    with threadpool_limits(limits=1), ThreadPoolExecutor(n_threads) as threads:
        yield threads


def risen(points: list[Point]) -> bool:
    """Whether the last RISES losses are all above the least."""
    best = min(range(len(points)), key=lambda number: points[number].log_loss)
    return len(points) - 1 - best >= RISES


class _Folds:
    """Some rows in memory, in the order of their folds, so that a fold's rows are a view.

    parts: (context that trains without the fold, the fold's rows) of each fold that leaves two classes to train on.
    known: (rows,) whether a part trains without the row, and on its class. scores: of the known rows, by C.
    """

    def __init__(self, context: FitContext) -> None:
        rows = _some_rows(context)
        n_texts = len(np.unique(context.keys[rows], axis=0))
        chosen = dataclasses.replace(context, train=rows)
        held = (
            [held_out for _, held_out in fold_rows(chosen, context.keys, min(FOLDS, n_texts))]
            if n_texts > 1
            else [rows]
        )
        self.context = in_memory(context, np.concatenate(held))
        bounds = np.cumsum([0, *map(len, held)])
        self.parts = list(self._parts(bounds))
        self.scores: dict[float, npt.NDArray[np.float32]] = {}
        self.known = np.zeros(len(rows), dtype=np.bool_)
        for part, held_out in self.parts:
            self.known[held_out] = _known(part, held_out)

    def _parts(self, bounds: npt.NDArray[np.intp]) -> Iterator[tuple[FitContext, slice]]:
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            train = np.concatenate([self.context.train[:start], self.context.train[stop:]])
            part = dataclasses.replace(self.context, train=train)
            if len(part.present()) > 1:
                yield part, slice(start, stop)

    def point(self, C: float, of_parts: Sequence[npt.NDArray[np.float32]]) -> Point:
        """The loss of each part's scores of its own fold."""
        scores = np.zeros((len(self.context.train), len(self.context.targets.classes)), dtype=np.float32)
        for (_, held_out), values in zip(self.parts, of_parts, strict=True):
            scores[held_out] = values
        multi_label = self.context.targets.multi_label
        self.scores[C] = scores[self.known]
        return _point(C, self.scores[C], self.context.targets.codes[self.known], multi_label)

    def cross_fitted(self, point: Point) -> CrossFitted:
        """The known rows' probabilities with this C."""
        link = link_of(multi_label=self.context.targets.multi_label)
        return CrossFitted(
            keys=self.context.keys[self.known],
            codes=self.context.targets.codes[self.known],
            probabilities=apply_link(self.scores[point.C] / np.float32(point.temperature), link),
        )


def _some_rows(context: FitContext) -> Rows:
    """At most CHOICE_VALUES numbers' worth of the train rows, drawn by the seed, ascending."""
    most = max(LEAST_CHOICE_ROWS, CHOICE_VALUES // context.X.shape[1])
    order = np.random.default_rng(context.options.seed).permutation(context.train)
    return np.sort(order[:most])


def _known(part: FitContext, held_out: slice) -> npt.NDArray[np.bool_]:
    """(fold's rows,): whether their class is among those that the part trains on."""
    codes = part.targets.codes[held_out]
    if part.targets.multi_label:
        return np.ones(len(codes), dtype=np.bool_)
    return np.isin(codes, part.present())


def _point(C: float, scores: npt.NDArray[Any], codes: npt.NDArray[Any], multi_label: bool) -> Point:
    link = link_of(multi_label=multi_label)
    temperature = best_temperature(scores, codes, link)
    right = (scores > 0) == codes if multi_label else scores.argmax(axis=1) == codes
    return Point(
        C=C,
        log_loss=log_loss(scores / temperature, codes, link),
        accuracy=float(right.mean()),
        temperature=temperature,
        log_loss_before=log_loss(scores, codes, link),
        thresholds=best_thresholds(codes, apply_link((scores / temperature).astype(np.float32), link))
        if multi_label
        else (),
    )
