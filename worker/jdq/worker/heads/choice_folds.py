"""Folds of some rows, by whose cross-fitted scores a head is chosen and calibrated."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_info, threadpool_limits

from jdq.worker.heads.features import Rows
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.folds import fold_rows
from jdq.worker.heads.logreg import row_weights
from jdq.worker.heads.scaled_regression import in_memory

FOLDS = 5
TOO_FEW = "too few texts for cross-validation"


class ChoiceFolds:
    """Rows in memory, in the order of their folds, so that a fold's rows are a view.

    rows: those of the original context. parts: (context that trains without the fold, the fold's rows) of each fold
    that leaves two classes to train on. known: (rows,) whether a part trains without the row, and on its class.
    """

    def __init__(self, context: FitContext, rows: Rows) -> None:
        n_texts = len(np.unique(context.keys[rows], axis=0))
        chosen = dataclasses.replace(context, train=rows)
        held = (
            [held_out for _, held_out in fold_rows(chosen, context.keys, min(FOLDS, n_texts))]
            if n_texts > 1
            else [rows]
        )
        self.rows = np.concatenate(held)
        self.context = in_memory(context, self.rows)
        bounds = np.cumsum([0, *map(len, held)])
        self.parts = list(self._parts(bounds))
        self.known = np.zeros(len(rows), dtype=np.bool_)
        for part, held_out in self.parts:
            self.known[held_out] = _known(part, held_out)

    @property
    def codes(self) -> npt.NDArray[np.int64] | npt.NDArray[np.bool_]:
        """Of the known rows."""
        return self.context.targets.codes[self.known]

    @property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """Weights of the known rows, by class: the choice uses the weights of training."""
        if self.context.targets.multi_label:
            return None
        weights = row_weights(self.context)
        return None if weights is None else weights[self.known].astype(np.float64)

    @property
    def described(self) -> str:
        return f"{len(self.parts)}-fold cross-validation over {len(self.rows):,} rows"

    def scores(self, of_parts: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """(known rows, classes) from each part's scores of its own fold."""
        scores = np.zeros((len(self.rows), len(self.context.targets.classes)), dtype=np.float32)
        for (_, held_out), values in zip(self.parts, of_parts, strict=True):
            scores[held_out] = values
        return scores[self.known]

    def _parts(self, bounds: npt.NDArray[np.intp]) -> Iterator[tuple[FitContext, slice]]:
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            train = np.concatenate([self.context.train[:start], self.context.train[stop:]])
            part = dataclasses.replace(self.context, train=train)
            if len(part.present()) > 1:
                yield part, slice(start, stop)


def _known(part: FitContext, held_out: slice) -> npt.NDArray[np.bool_]:
    """(fold's rows,): whether their class is among those that the part trains on."""
    codes = part.targets.codes[held_out]
    if part.targets.multi_label:
        return np.ones(len(codes), dtype=np.bool_)
    return np.isin(codes, part.present())


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """As many threads as the libraries would use for one product, each of which computes its products by itself.

    For products this small, that is faster; on busy cores, many times.
    """
    n_threads = max((each["num_threads"] for each in threadpool_info()), default=1)
    with threadpool_limits(limits=1), ThreadPoolExecutor(n_threads) as threads:
        yield threads
