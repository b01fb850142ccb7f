"""Probabilities of every row, by heads that learnt neither from it nor from another row of its text."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.fitting import fit, probabilities_of
from jdq.worker.heads.folds import fold_rows
from jdq.worker.heads.predictors import Float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """probabilities, known: (rows, classes); known: which classes the row's head learnt. params: of the heads."""

    probabilities: Float32
    known: npt.NDArray[np.bool_]
    params: dict[str, Any]


def held_out_probabilities(context: FitContext, folds: int) -> HeldOut:
    """Of all rows of the context, its train rows, by stratified folds of texts.

    The heads' parameters are chosen once, on all rows: a C chosen in each fold takes three times as long and hardly
    differs. Raises TooFewRows, OneClassOnly.
    """
    params = fit(_reporting(context, 0, folds)).params
    context = dataclasses.replace(context, options=msgspec.structs.replace(context.options, params=params))
    shape = (len(context.train), len(context.targets.classes))
    probabilities, known = np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
    for number, (train, held_out) in enumerate(fold_rows(context, context.keys, folds), start=1):
        part = dataclasses.replace(_reporting(context, number, folds), train=train)
        probabilities[held_out] = probabilities_of(fit(part).predictor, context.X, held_out)
        known[np.ix_(held_out, part.present())] = True
    return HeldOut(probabilities=probabilities, known=known, params=params)


def _reporting(context: FitContext, number: int, folds: int) -> FitContext:
    """The context of one of `folds` + 1 fits, which reports its share of them all, in percent of a fit."""
    steps = 100 * (folds + 1)
    return dataclasses.replace(
        context, check=lambda done, total: context.check(100 * number + 100 * done // max(total, 1), steps)
    )
