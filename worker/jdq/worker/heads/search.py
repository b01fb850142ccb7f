"""A search over heads and parameters: its trials, the score of one trial, and the best refitted.

Each function is the work of one chunk: `list_trials` once, `score_trial` for each trial on any worker,
`refit_best` once at the end. Trials are scored by stratified cross-validation over the train part, so that the test
part stays unseen until the winning head is measured on it. All trials have the same folds, so two of them are compared
on the same texts: one that the best so far beats by more than chance on the first folds is stopped, and a simpler kind
wins where the best is within one standard error of the difference.
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
from jdq.worker.heads.intervals import jackknife
from jdq.worker.heads.labels import Labels, read_targets
from jdq.worker.heads.options import BEST_BY, HYBRID, LINEAR, TFIDF, HeadOptions, ParameterValue, check_head
from jdq.worker.heads.predictors import Float32
from jdq.worker.heads.record import Origin
from jdq.worker.heads.split import Rows, Split
from jdq.worker.heads.train import make_fit_context, train_head

Grid = Mapping[str, Sequence[ParameterValue]]

# From the simplest kind. A forest has the threads of its worker, as joblib is configured.
GRIDS: dict[str, Grid] = {
    "dummy": {},
    TFIDF: {},
    LINEAR: {},
    HYBRID: {},
    "logreg": {"C": (0.01, 0.1, 1.0, 10.0, 100.0), "scale": (False, True)},
    "linear-svm": {"C": (0.0001, 0.001, 0.01, 0.1, 1.0)},
    "knn": {"n_neighbors": (1, 5, 10, 20, 50)},
    "svm": {"C": (0.1, 1.0, 10.0, 100.0), "gamma": ("scale",)},
    "mlp": {"hidden": (64, 256), "learning_rate": (0.0003, 0.001), "dropout": (0.2, 0.5)},
    "random-forest": {"n_estimators": (300,), "max_features": ("sqrt", 0.1), "n_jobs": (None,)},
    "hist-gbm": {"learning_rate": (0.05, 0.1), "max_iter": (100,)},
}
NO_FEATURES = ("dummy", TFIDF)
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
    "random-forest": {"n_estimators": [300], "max_features": ["sqrt", 0.05, 0.1, 0.2], "n_jobs": [None]},
}
# Training time grows with the square of the rows (svm), or is minutes per fold at some hundreds of columns (trees).
NAMED_ONLY = ("logreg",)  # the grid of `linear` is finer
MOST_ROWS = {"svm": 20_000, "knn": 100_000, "hist-gbm": 50_000, "random-forest": 100_000}

# Standard errors of the difference between two trials: to stop one (2.5 % by chance), to prefer a simpler one.
MORE_THAN_CHANCE, WITHIN = 1.96, 1.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One head with one set of parameters. space: the digest of the feature space; None is that of the job."""

    number: int
    options: HeadOptions
    space: str | None = None


class TrialScore(msgspec.Struct, frozen=True, kw_only=True):
    """The result of cross-validating a trial.

    by_fold: the values of each fold. jackknife: of each fold, the metric of the search without each tenth of the
    texts. stopped: after fewer folds than requested. error: why it has no score, if it does not fit the data.
    """

    number: int
    options: HeadOptions
    folds: int
    space: str | None = None
    scores: dict[str, float] = {}
    by_fold: dict[str, list[float]] = {}
    jackknife: list[list[float]] = []
    stopped: bool = False
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
    spaces: Sequence[str | None] = (None,),
    more: int = 0,
) -> list[Trial]:
    """The trials of a search in each of the feature spaces: a grid, or `trials` random draws by the seed of `base`.

    more: random draws after the grid.

    Seed, class weight, label separator and sampling of `base` apply to every trial; its head and parameters do not.
    rows: of the train part; heads that would take too long on so many are left out unless `heads` names them. allowed:
    dotted names of further classifiers, each of which is one trial with its own defaults. Trials that read no features
    occur once.
    """
    fast = [name for name in GRIDS if rows <= MOST_ROWS.get(name, rows) and name not in NAMED_ONLY]
    names = [check_head(name, allowed) for name in heads] if heads else fast
    without = {"knn", "mlp", "dummy"} if base.label_separator else {"knn", "dummy"}
    if base.class_weight is not None:
        names = [name for name in names if name not in without]
    rng = np.random.default_rng(base.seed)
    drawn = _grid(names) + _drawn(names, more, rng) if trials is None else _random(names, trials, rng)
    options = [msgspec.structs.replace(base, head=head, params=params, cv=None) for head, params in drawn]
    pairs = [(each, space) for each in options for space in (spaces[:1] if each.head in NO_FEATURES else spaces)]
    return [Trial(number=number, options=each, space=space) for number, (each, space) in enumerate(pairs)]


def _grid(names: Sequence[str]) -> list[tuple[str, dict[str, ParameterValue]]]:
    return [
        (name, dict(zip(GRIDS.get(name, {}), values, strict=True)))
        for name in names
        for values in itertools.product(*GRIDS.get(name, {}).values())
    ]


def _random(names: Sequence[str], trials: int, rng: np.random.Generator) -> list[tuple[str, dict[str, ParameterValue]]]:
    if trials < 1:
        raise BadParameter(f"a search needs at least one trial, not {trials}")
    return [*_grid([name for name in names if name not in RANDOM and name != "dummy"]), *_drawn(names, trials, rng)]


def _drawn(names: Sequence[str], trials: int, rng: np.random.Generator) -> list[tuple[str, dict[str, ParameterValue]]]:
    drawable = [name for name in names if name in RANDOM]
    heads = [drawable[i % len(drawable)] for i in range(trials)] if drawable else []  # one trial of each head at a time
    return [(head, {name: _draw(values, rng) for name, values in RANDOM[head].items()}) for head in heads]


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
    metric: str = BEST_BY,
    rivals: Sequence[TrialScore] = (),
    check: Check = no_check,
) -> TrialScore:
    """One trial's mean scores; a trial that does not fit the data has an error instead.

    rivals: the trials that have a score. The trial stops where the best of them is better by more than chance.
    """
    rival = next((each for each in rank(rivals, metric=metric) if each.jackknife and not each.stopped), None)
    started = time.perf_counter()
    targets = read_targets(y, label_separator=trial.options.label_separator)
    keys = row_keys(targets.rows) if keys is None else keys
    context = make_fit_context(X, targets, split, trial.options, keys, check)
    without: list[list[float]] = []

    def hopeless(values: dict[str, list[float]], rows: Rows, probabilities: Float32) -> bool:
        if len(values.get(metric, [])) > len(without):
            without.append(jackknife(metric, targets.codes[rows], probabilities, targets.classes, keys[rows]))
        return rival is not None and standard_errors(rival, values.get(metric, []), without, metric) > MORE_THAN_CHANCE

    try:
        metrics = cross_validate(context, keys, folds, hopeless)["metrics"]
    except HeadError as error:
        return unscored(trial, folds, str(error))
    done = max((len(values["folds"]) for values in metrics.values()), default=0)
    return TrialScore(
        number=trial.number,
        options=trial.options,
        folds=done,
        space=trial.space,
        by_fold={name: values["folds"] for name, values in metrics.items()},
        jackknife=without,
        stopped=done < folds,
        scores={name: values["mean"] for name, values in metrics.items()},
        spread={name: values["std"] for name, values in metrics.items()},
        wall_time_s=round(time.perf_counter() - started, 4),
    )


def unscored(trial: Trial, folds: int, error: str) -> TrialScore:
    """A trial without a score, and why."""
    return TrialScore(number=trial.number, options=trial.options, folds=folds, space=trial.space, error=error)


def standard_errors(
    ahead: TrialScore, values: Sequence[float], without: Sequence[Sequence[float]], metric: str
) -> float:
    """By how many standard errors, over texts, a trial is better than another's `values` on the same first folds.

    without: the other's jackknife. The difference is paired: each of its folds is measured without the same texts in
    both, which gives its variance (the delete-a-group jackknife). 0 where nothing is known.
    """
    pairs = list(zip(ahead.by_fold.get(metric, []), values, ahead.jackknife, without, strict=False))
    pairs = [pair for pair in pairs if pair[2] and pair[3]]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    difference = sign * sum(these - others for these, others, *_ in pairs)
    groups = [np.subtract(these, others) for *_, these, others in pairs]
    error = np.sqrt(sum((len(each) - 1) * each.var() for each in groups))
    return float(difference / max(error, 1e-12)) if difference else 0.0


def best_of(ranked: Sequence[TrialScore], metric: str) -> TrialScore:
    """The best trial of the simplest kind that has a trial within one standard error of the best one."""
    best, kinds = ranked[0], list(GRIDS)

    def complexity(score: TrialScore) -> int:
        return kinds.index(score.options.head) if score.options.head in kinds else len(kinds)

    complete = [each for each in ranked if each.jackknife and not each.stopped]
    equal = [
        each
        for each in complete
        if standard_errors(best, each.by_fold.get(metric, []), each.jackknife, metric) <= WITHIN
    ]
    return min(equal, key=complexity, default=best)


def rank(scores: Sequence[TrialScore], *, metric: str = BEST_BY) -> list[TrialScore]:
    """Best first; in a tie the earlier trial, which is the simpler head. Stopped trials, then those with an error,
    come last.
    """
    sign = 1 if metric in LOWER_IS_BETTER else -1

    def order(score: TrialScore) -> tuple[bool, bool, float, int]:
        value = score.scores.get(metric)
        return (value is None, score.stopped, 0.0 if value is None else sign * value, score.number)

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

    The first of the trials listed is the best. Raises BadParameter if no trial has a score.
    """
    ranked = rank(scores, metric=metric)
    if not ranked or metric not in ranked[0].scores:
        reason = ranked[0].error if ranked else "there are none"
        raise BadParameter(f"no trial of the search has a {metric}: {reason}")
    best = best_of(ranked, metric)
    head = train_head(X, y, split, best.options, origin=origin, keys=keys, allowed=allowed, check=check)
    search: dict[str, Any] = {
        "metric": metric,
        "folds": best.folds,
        "trials": [_line(score, metric) for score in (best, *(each for each in ranked if each is not best))],
        "wall_time_s": round(sum(score.wall_time_s for score in scores), 4),
    }
    record = msgspec.structs.replace(head.record, search=search)
    return TrainedHead(predictor=head.predictor, record=record)


def _line(score: TrialScore, metric: str) -> dict[str, Any]:
    return {
        "number": score.number,
        "head": score.options.head,
        "params": score.options.params,
        "space": score.space,
        "stopped": score.stopped,
        "score": score.scores.get(metric),
        "spread": score.spread.get(metric),
        "wall_time_s": score.wall_time_s,
        "error": score.error,
    }
