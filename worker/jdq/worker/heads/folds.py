"""Stratified folds of the train rows; rows of equal text are in one fold."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.errors import BadParameter, TooFewRows
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.split import Rows, by_stratum, group_numbers, group_strata, row_strata


def fold_rows(context: FitContext, keys: npt.NDArray[np.uint8], folds: int) -> Iterator[tuple[Rows, Rows]]:
    """(rows to train on, rows to measure on) of each fold, ascending, drawn by the options' seed."""
    if folds < 2:
        raise BadParameter(f"cross-validation needs at least 2 folds, not {folds}")
    group_of = group_numbers(keys[context.train])
    n_texts = int(group_of.max()) + 1
    if n_texts < folds:
        raise TooFewRows(f"{n_texts} distinct texts to train on cannot make {folds} folds")
    strata = group_strata(row_strata(context.targets)[context.train], group_of, n_texts)
    fold_of = assign_folds(np.bincount(group_of), strata, folds, np.random.default_rng(context.options.seed))[group_of]
    for fold in range(folds):
        yield context.train[fold_of != fold], context.train[fold_of == fold]


def assign_folds(sizes: Rows, strata: npt.NDArray[np.int64], folds: int, rng: np.random.Generator) -> Rows:
    """The fold of each text; the rows of each class are spread evenly.

    scikit-learn's StratifiedGroupKFold does the same with a Python loop over all texts, not only the repeated ones.
    """
    fold = np.empty(len(sizes), dtype=np.intp)
    load = np.zeros(folds)
    for texts in by_stratum(strata, rng.permutation(len(sizes))):
        of_class = np.zeros(folds)
        repeated = texts[sizes[texts] > 1]
        for text in repeated[np.argsort(-sizes[repeated], kind="stable")]:
            fold[text] = np.lexsort((load, of_class))[0]
            of_class[fold[text]] += sizes[text]
            load[fold[text]] += sizes[text]
        _deal(fold, texts[sizes[texts] == 1], of_class, load)
    return fold


def _deal(fold: Rows, single: Rows, of_class: npt.NDArray[np.float64], load: npt.NDArray[np.float64]) -> None:
    """Texts of one row go to the folds with the fewest rows of their class, then with the fewest rows."""
    # Filling the lowest first, no fold gets more than the mean: that many places in each fold are enough.
    mean = int(np.ceil((of_class.sum() + len(single)) / len(of_class)))
    before = of_class[:, None] + np.arange(mean)
    lowest = np.lexsort((np.repeat(load - of_class, mean), before.ravel()))[: len(single)]
    fold[single], _ = np.unravel_index(lowest, before.shape)
    load += np.bincount(fold[single], minlength=len(load))
