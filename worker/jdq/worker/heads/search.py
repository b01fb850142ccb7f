"""A search over heads and parameters: its trials, the score of one trial, and the best refitted.

Each function is the work of one chunk: `list_trials` once, `score_trial` for each trial on any worker,
`refit_best` once at the end. Trials are scored by stratified cross-validation over the train part, so that the test
part stays unseen until the winning head is measured on it.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.worker.heads.crossval import LOWER_IS_BETTER, cross_validate
from jdq.worker.heads.errors import BadParameter, HeadError
from jdq.worker.heads.features import Check, Features, no_check
from jdq.worker.heads.fitted import row_keys
from jdq.worker.heads.head import TrainedHead
from jdq.worker.heads.labels import Labels, read_targets
from jdq.worker.heads.options import BEST_BY, HeadOptions, ParameterValue, check_head
from jdq.worker.heads.record import Origin
from jdq.worker.heads.split import Split
from jdq.worker.heads.train import make_fit_context, train_head

Grid = Mapping[str, Sequence[ParameterValue]]

# One thread for a forest: a search uses all cores by running many trials.
GRIDS: dict[str, Grid] = {
    "dummy": {},
    "logreg": {"C": (0.01, 0.1, 1.0, 10.0, 100.0), "scale": (False, True)},
    "linear-svm": {"C": (0.0001, 0.001, 0.01, 0.1, 1.0)},
    "knn": {"n_neighbors": (1, 5, 10, 20, 50)},
    "svm": {"C": (0.1, 1.0, 10.0, 100.0), "gamma": ("scale",)},
    "mlp": {"hidden": (64, 256), "learning_rate": (0.0003, 0.001), "dropout": (0.2, 0.5)},
    "random-forest": {"n_estimators": (300,), "max_features": ("sqrt", 0.1), "n_jobs": (1,)},
    "hist-gbm": {"learning_rate": (0.05, 0.1), "max_iter": (100,)},
}
# Log-uniform between the two ends, or one of the values.
RANDOM: dict[str, Mapping[str, tuple[float, float] | Sequence[ParameterValue]]] = {
    "logreg": {"C": (1e-3, 1e3), "scale": [False, True]},
    "linear-svm": {"C": (1e-5, 10.0)},
    "svm": {"C": (1e-2, 1e3)},
    "mlp": {
        "hidden": [32, 64, 128, 256, 512],
        "learning_rate": (1e-4, 1e-2),
        "dropout": [0.0, 0.2, 0.5],
        "weight_decay": (1e-6, 1e-2),
    },
    "knn": {"n_neighbors": [1, 3, 5, 10, 20, 50], "weights": ["uniform", "distance"]},
    "hist-gbm": {"learning_rate": (0.02, 0.3), "max_leaf_nodes": [7, 15, 31, 63]},
    "random-forest": {"n_estimators": [300], "max_features": ["sqrt", 0.05, 0.1, 0.2], "n_jobs": [1]},
}
# Training time grows with the square of the rows (svm), or is minutes per fold at some hundreds of columns (trees).
MOST_ROWS = {"svm": 20_000, "knn": 100_000, "hist-gbm": 50_000, "random-forest": 100_000}


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One head with one set of parameters."""

    number: int
    options: HeadOptions


class TrialScore(msgspec.Struct, frozen=True, kw_only=True):
    """The result of cross-validating a trial. error: why it has no score, where it does not fit the data."""

    number: int
    options: HeadOptions
    folds: int
    scores: dict[str, float] = {}
    spread: dict[str, float] = {}
    wall_time_s: float = 0.0
    error: str | None = None


def list_trials(
    base: HeadOptions,
    *,
    rows: int,
    trials: int | None = None,
    heads: Sequence[str] | None = None,
    allowed: Sequence[str] = (),
) -> list[Trial]:
    """The trials of a search: a grid, or `trials` random draws by the seed of `base`.

    Seed, class weight, label separator and sampling of `base` apply to every trial; its head and parameters do not.
    rows: of the train part; heads that would take too long on so many are left out unless `heads` names them. allowed:
    dotted names of further classifiers, each of which is one trial with its own defaults.
    """
    names = (
        [check_head(name, allowed) for name in heads] if heads else [h for h in GRIDS if rows <= MOST_ROWS.get(h, rows)]
    )
    without = {"knn", "mlp", "dummy"} if base.label_separator else {"knn", "dummy"}
    if base.class_weight is not None:
        names = [name for name in names if name not in without]
    drawn = _grid(names) if trials is None else _random(names, trials, np.random.default_rng(base.seed))
    options = [msgspec.structs.replace(base, head=head, params=params, cv=None) for head, params in drawn]
    return [Trial(number=number, options=each) for number, each in enumerate(options)]


def _grid(names: Sequence[str]) -> list[tuple[str, dict[str, ParameterValue]]]:
    return [
        (name, dict(zip(GRIDS.get(name, {}), values, strict=True)))
        for name in names
        for values in itertools.product(*GRIDS.get(name, {}).values())
    ]


def _random(names: Sequence[str], trials: int, rng: np.random.Generator) -> list[tuple[str, dict[str, ParameterValue]]]:
    if trials < 1:
        raise BadParameter(f"a search needs at least one trial, not {trials}")
    drawable = [name for name in names if name in RANDOM]
    heads = [drawable[i % len(drawable)] for i in range(trials)] if drawable else []  # heads take turns
    drawn = [(head, {name: _draw(values, rng) for name, values in RANDOM[head].items()}) for head in heads]
    return [*_grid([name for name in names if name not in GRIDS]), *drawn]


def _draw(values: tuple[float, float] | Sequence[ParameterValue], rng: np.random.Generator) -> ParameterValue:
    if isinstance(values, tuple):
        return float(f"{np.exp(rng.uniform(*np.log(values))):.4g}")
    return values[int(rng.integers(len(values)))]


def score_trial(
    X: Features,
    y: Labels,
    split: Split,
    trial: Trial,
    *,
    keys: npt.NDArray[np.uint8] | None = None,
    folds: int = 5,
    check: Check = no_check,
) -> TrialScore:
    """One trial's mean scores; a trial that does not fit the data has an error instead."""
    started = time.perf_counter()
    targets = read_targets(y, label_separator=trial.options.label_separator)
    keys = row_keys(targets.rows) if keys is None else keys
    context = make_fit_context(X, targets, split, trial.options, keys, check)
    try:
        metrics = cross_validate(context, keys, folds)["metrics"]
    except HeadError as error:
        return TrialScore(number=trial.number, options=trial.options, folds=folds, error=str(error))
    return TrialScore(
        number=trial.number,
        options=trial.options,
        folds=folds,
        scores={name: values["mean"] for name, values in metrics.items()},
        spread={name: values["std"] for name, values in metrics.items()},
        wall_time_s=round(time.perf_counter() - started, 4),
    )


def rank(scores: Sequence[TrialScore], *, metric: str = BEST_BY) -> list[TrialScore]:
    """Best first; of equal ones the earlier trial, which is the simpler head. Trials with an error come last."""
    sign = 1 if metric in LOWER_IS_BETTER else -1

    def order(score: TrialScore) -> tuple[float, int]:
        value = score.scores.get(metric)
        return (float("inf") if value is None else sign * value, score.number)

    return sorted(scores, key=order)


def refit_best(
    X: Features,
    y: Labels,
    split: Split,
    scores: Sequence[TrialScore],
    *,
    metric: str = BEST_BY,
    origin: Origin | None = None,
    keys: npt.NDArray[np.uint8] | None = None,
    allowed: Sequence[str] = (),
    check: Check = no_check,
) -> TrainedHead:
    """The best trial, trained on all of the train part and measured on the test part; its record lists all trials.

    Raises BadParameter where no trial has a score.
    """
    ranked = rank(scores, metric=metric)
    if not ranked or metric not in ranked[0].scores:
        reason = ranked[0].error if ranked else "there are none"
        raise BadParameter(f"no trial of the search has a {metric}: {reason}")
    head = train_head(X, y, split, ranked[0].options, origin=origin, keys=keys, allowed=allowed, check=check)
    search: dict[str, Any] = {
        "metric": metric,
        "folds": ranked[0].folds,
        "trials": [_line(score, metric) for score in ranked],
        "wall_time_s": round(sum(score.wall_time_s for score in scores), 4),
    }
    record = msgspec.structs.replace(head.record, search=search)
    return TrainedHead(predictor=head.predictor, record=record)


def _line(score: TrialScore, metric: str) -> dict[str, Any]:
    return {
        "number": score.number,
        "head": score.options.head,
        "params": score.options.params,
        "score": score.scores.get(metric),
        "spread": score.spread.get(metric),
        "wall_time_s": score.wall_time_s,
        "error": score.error,
    }
