"""What more labels would bring: a learning curve, fitted to the errors of heads that are trained on parts of the rows.

The error after n texts is taken as a + b n^-c. Three rates c are common in practice (Hestness et al., 2017, "Deep
Learning Scaling Is Predictable, Empirically": 0.1 to 0.5; parametric models reach 1), and few points cannot tell which
it is: each draw of test texts takes one of them at random. `a` is the error that labels do not correct, which is all
that another encoder could.
"""

import dataclasses
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.worker.heads.decision import predicted_sets
from jdq.worker.heads.features import Check, Features
from jdq.worker.heads.fitted import FitContext, Keys
from jdq.worker.heads.fitting import as_learnt, fit, probabilities_of
from jdq.worker.heads.head import TrainedHead
from jdq.worker.heads.labels import Labels, read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.predictors import Float32
from jdq.worker.heads.split import TEST, Rows, Split, group_numbers, row_strata
from jdq.worker.heads.train import make_fit_context

LABELS = 1000
SHARES = (8, 4, 2)  # one of this many parts
PARTS = 2  # of each size
LEAST_ROWS = 20  # of a part
RATES = (0.25, 0.5, 1.0)
DRAWS = 1000
Floats = npt.NDArray[np.float64]
Estimate = tuple[float, float, float]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Of the accuracy on the test part: each an estimate and the ends of its 95 % interval.

    curve: (rows, accuracy) of the learning curve; its last point is the head. with_labels: after LABELS more. ceiling:
    with any number of labels.
    """

    curve: tuple[tuple[int, float], ...]
    with_labels: Estimate
    ceiling: Estimate
    labels: int = LABELS

    @property
    def fine_tune(self) -> tuple[float, float]:
        """The range of a fine-tune's accuracy: at worst the head is kept, at best it corrects what labels do not."""
        now = self.curve[-1][1]
        return now, min(1.0, now + 1 - self.ceiling[1])

    def described(self) -> dict[str, Any]:
        """As a job's result has it."""
        return {**msgspec.to_builtins(self), "fine_tune": list(self.fine_tune), "pays": self.pays}

    @property
    def pays(self) -> bool:
        """Whether a fine-tune could correct more errors than the labels would."""
        return 1 - self.ceiling[0] > self.with_labels[0] - self.curve[-1][1]


def with_forecast(
    head: TrainedHead, X: Features, y: Labels, split: Split, options: HeadOptions, *, keys: Keys, check: Check
) -> TrainedHead:
    """The head, whose record has the forecast. Arguments: those of the `train_head` that made it."""
    targets, test = read_targets(y, label_separator=options.label_separator), split.rows(TEST)
    context = make_fit_context(X, targets, split, options, keys, check)
    made = forecast(context, test, probabilities_of(head.predictor, X, test), head.record.thresholds)
    described = None if made is None else made.described()
    return dataclasses.replace(head, record=msgspec.structs.replace(head.record, forecast=described))


def forecast(context: FitContext, test: Rows, probabilities: Float32, thresholds: tuple[float, ...]) -> Forecast | None:
    """By heads of the context's options on an eighth, a quarter and half of its rows, two of each.

    probabilities, thresholds: of the head itself, on the test rows. None if an eighth is too few rows, or one class.
    """
    context = as_learnt(context)
    order = _mixed(context)
    parts = [
        [dataclasses.replace(context, train=np.sort(order[part::share])) for part in range(PARTS)] for share in SHARES
    ]
    few = len(order) < SHARES[0] * LEAST_ROWS or any(len(part.present()) < 2 for of_size in parts for part in of_size)
    if few or not len(test):
        return None
    pairs = [np.stack([_wrong_of(part, test) for part in of_size]) for of_size in parts]
    wrong = [*(pair.mean(axis=0) for pair in pairs), _wrong(context, test, probabilities, thresholds)]
    sizes = [*(len(of_size[0].train) for of_size in parts), len(order)]
    disagreement = float((pairs[-1][0] != pairs[-1][1]).mean())
    return extrapolated(np.stack(wrong), np.array(sizes), group_numbers(context.keys[test]), disagreement)


def extrapolated(wrong: Floats, sizes: npt.NDArray[np.intp], text_of: Rows, disagreement: float) -> Forecast:
    """wrong: (sizes, test rows), the share of heads of each size that err. text_of: of the test rows.

    disagreement: the share of them on which one of two equally good heads errs, and the other does not. That much, over
    so many texts, the next head's accuracy varies besides.
    """
    rng = np.random.default_rng(0)
    texts = int(text_of.max()) + 1
    weights = rng.multinomial(texts, np.full(texts, 1 / texts), size=DRAWS)[:, text_of].astype(np.float64)
    errors = weights @ wrong.T / weights.sum(axis=1, keepdims=True)
    rates = np.resize(RATES, DRAWS)
    a, b = least_squares(errors, sizes[None] ** -rates[:, None])
    now, n = float(wrong[-1].mean()), float(sizes[-1])
    gains = b * (n**-rates - (n + LABELS) ** -rates) + rng.normal(0, np.sqrt(disagreement / texts), DRAWS)
    curve = tuple((int(size), 1 - float(each.mean())) for size, each in zip(sizes, wrong, strict=True))
    return Forecast(curve=curve, with_labels=_estimate(1 - now + gains), ceiling=_estimate(1 - a))


def least_squares(errors: Floats, x: Floats) -> tuple[Floats, Floats]:
    """The a and b, neither negative, of the least squares of errors - a - b x: (draws,) each, of (draws, points)."""
    mean_x, mean_error = x.mean(axis=1), errors.mean(axis=1)
    of_x = x - mean_x[:, None]
    b = np.maximum((of_x * errors).sum(axis=1) / (of_x**2).sum(axis=1), 0)
    a = mean_error - b * mean_x
    through_zero = (x * errors).sum(axis=1) / (x**2).sum(axis=1)
    return np.maximum(a, 0), np.where(a < 0, through_zero, b)


def _estimate(draws: Floats) -> Estimate:
    low, middle, high = np.quantile(np.clip(draws, 0, 1), (0.025, 0.5, 0.975)).tolist()
    return middle, low, high


def _mixed(context: FitContext) -> Rows:
    """The train rows in an order of which every n-th row, from any, has the classes in their proportions."""
    rows = np.random.default_rng(context.options.seed).permutation(context.train)
    return rows[np.argsort(row_strata(context.targets)[rows], kind="stable")]


def _wrong_of(part: FitContext, test: Rows) -> npt.NDArray[np.bool_]:
    fitted = fit(part)
    return _wrong(part, test, probabilities_of(fitted.predictor, part.X, test), fitted.thresholds)


def _wrong(context: FitContext, test: Rows, probabilities: Any, thresholds: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """(test rows,): of label sets, whether any label is wrong."""
    codes = context.targets.codes[test]
    if codes.ndim == 1:
        wrong: npt.NDArray[np.bool_] = probabilities.argmax(axis=1) != codes
        return wrong
    return np.asarray((predicted_sets(probabilities, thresholds) != codes).any(axis=1))
