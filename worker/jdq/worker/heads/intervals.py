"""How much a metric depends on which texts are in the test part: 95 % intervals.

Rows of one text are right or wrong together, so texts are drawn, not rows. The spread of a metric over the draws
becomes Wilson's interval of a share with that spread: unlike quantiles of the draws it does not collapse near 0 and 1.
`benchmarks/intervals.py` measures the coverage.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.sparse import csr_array

from jdq.worker.heads.decision import predicted_sets
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.split import Rows, group_numbers

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]

RESAMPLES, LEAST_RESAMPLES = 1000, 200
DRAWS = 20_000_000  # at most this many (resamples x distinct rows), about a second
DRAWS_PER_BLOCK = 2_000_000  # 16 MiB
JACKKNIFE_GROUPS = 10
Z = 1.959964  # of 95 %


def bootstrap(
    true: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    *,
    keys: npt.NDArray[np.uint8] | None = None,
    thresholds: Sequence[float] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """The 95 % interval of accuracy, precision, recall, F1, their macro (of sets also micro) means and ROC AUC.

    true: (rows,) classes, or (rows, classes) bool. keys: (rows, 16) text keys; without them every row is a text.
    thresholds: of label sets, as in `predicted_sets`.

    The spread is the larger of two: over resamples of the texts, and over resamples of as many rows as the texts are
    worth (Kish's effective size). The first sees texts with several labels; the second is still right where the few
    most frequent texts decide, and the first may have drawn none that is wrong.
    """
    text_of = np.arange(len(true)) if keys is None else group_numbers(keys)
    effective = effective_rows(text_of)
    counts, measured = _single(true, probabilities) if true.ndim == 1 else _sets(true, probabilities, thresholds)
    rng = np.random.default_rng(seed)
    rows, texts = len(true), int(text_of.max()) + 1
    of_text = csr_array((np.ones(rows), (text_of, np.arange(rows))), shape=(texts, rows)) @ counts
    spread = _spread(of_text, texts, measured, rng, resamples)
    if texts < rows:
        of_rows = _spread(counts, round(effective), measured, rng, resamples)
        spread = {name: max(value, of_rows[name]) for name, value in spread.items()}
    value = measured(np.asarray(counts.sum(axis=0), dtype=np.float64)[None])
    intervals = {name: wilson(float(value[name][0]), spread[name], effective) for name in spread}
    auc = _auc_interval(true, probabilities, text_of, effective)
    return intervals | ({} if auc is None else {"roc_auc": auc})


def jackknife(
    metric: str,
    true: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    classes: Sequence[str],
    keys: npt.NDArray[np.uint8],
) -> list[float]:
    """The metric of the rows without each tenth of their texts; none if it is not defined for all of these."""
    text_of = group_numbers(keys)
    group_of = text_of % min(JACKKNIFE_GROUPS, int(text_of.max()) + 1)
    groups = range(int(group_of.max()) + 1)
    if len(groups) < 2:
        return []
    counts, measured = _single(true, probabilities) if true.ndim == 1 else _sets(true, probabilities, ())
    of_group = csr_array((np.ones(len(true)), (group_of, np.arange(len(true))))) @ counts
    values = measured(np.asarray(counts.sum(axis=0), dtype=np.float64) - of_group.toarray())
    if metric in values:
        return values[metric].tolist()  # type: ignore[no-any-return]
    kept = [group_of != group for group in groups]
    others = [metrics_of(true[rows], probabilities[rows], classes).get(metric) for rows in kept]
    return [value for value in others if value is not None and None not in others]


def wilson(value: float, spread: float, at_least: float, z: float = Z) -> Interval:
    """Wilson's 95 % interval of a share with this standard error; without one, of `at_least` independent rows."""
    size = value * (1 - value) / spread**2 if spread > 0 and 0 < value < 1 else max(at_least, 1.0)
    centre = (value + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(value * (1 - value) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def effective_rows(text_of: Rows) -> float:
    """How many independent rows the rows are worth (Kish, 1965), from the sizes of their texts."""
    sizes = np.bincount(text_of).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


# Sums of what a metric counts, (draws, columns), to each metric of each draw.
Measured = Callable[[Floats], dict[str, Floats]]


def _spread(counts: Any, drawn: int, measured: Measured, rng: np.random.Generator, resamples: int) -> dict[str, float]:
    """The standard deviation of each metric over resamples of `drawn` of the rows of `counts`.

    Equal rows are drawn together, which gives the same distribution; they are found by a random hash of each.
    """
    hashes = counts.astype(np.int64) @ rng.integers(1 << 62, size=counts.shape[1])
    _, first, sizes = np.unique(hashes, return_index=True, return_counts=True)
    distinct, shares = counts[first], sizes / counts.shape[0]
    times = max(min(LEAST_RESAMPLES, resamples), min(resamples, DRAWS // len(first)))
    per_block = max(1, DRAWS_PER_BLOCK // len(first))
    parts = [
        measured(np.asarray(rng.multinomial(drawn, shares, size=min(per_block, times - start)) @ distinct))
        for start in range(0, times, per_block)
    ]
    # A resample of n rows varies as one of n - 1 would.
    bias = np.sqrt(drawn / max(1, drawn - 1))
    return {name: float(np.concatenate([part[name] for part in parts]).std() * bias) for name in parts[0]}


def _single(true: npt.NDArray[np.int64], probabilities: npt.NDArray[Any]) -> tuple[Any, Measured]:
    """Each row's cell of the confusion matrix, (rows, occupied cells), and the metrics of such counts."""
    n_classes = probabilities.shape[1]
    occupied, cell = np.unique(true * n_classes + probabilities.argmax(axis=1), return_inverse=True)
    counts = csr_array((np.ones(len(true)), (np.arange(len(true)), cell)), shape=(len(true), len(occupied)))
    of_row, of_column = (_one_hot(each, n_classes) for each in np.divmod(occupied, n_classes))
    right = of_row * (of_row.argmax(axis=1) == of_column.argmax(axis=1))[:, None]

    def measured(draws: Floats) -> dict[str, Floats]:
        support, predicted, hits = draws @ of_row, draws @ of_column, draws @ right
        seen = (support + predicted > 0).sum(axis=1)
        return {"accuracy": hits.sum(axis=1) / draws.sum(axis=1), **_means(hits, support, predicted, seen)}

    return counts, measured


def _sets(
    true: npt.NDArray[np.bool_], probabilities: npt.NDArray[Any], thresholds: Sequence[float]
) -> tuple[Any, Measured]:
    """Each row's true, predicted and right labels and whether all are right, and the metrics of such counts."""
    predicted_labels, n = predicted_sets(probabilities, thresholds), true.shape[1]
    exact = (true == predicted_labels).all(axis=1, keepdims=True)
    one = np.ones_like(exact)
    counts = csr_array(np.hstack([true & predicted_labels, true, predicted_labels, exact, one]).astype(np.float64))

    def measured(draws: Floats) -> dict[str, Floats]:
        hits, support, predicted = draws[:, :n], draws[:, n : 2 * n], draws[:, 2 * n : 3 * n]
        all_of = [each.sum(axis=1) for each in (hits, support, predicted)]
        return {
            "accuracy": draws[:, -2] / draws[:, -1],
            **_means(hits, support, predicted, np.full(len(draws), n)),
            "micro_precision": _ratio(all_of[0], all_of[2]),
            "micro_recall": _ratio(all_of[0], all_of[1]),
            "micro_f1": _ratio(2 * all_of[0], all_of[1] + all_of[2]),
        }

    return counts, measured


def _means(hits: Floats, support: Floats, predicted: Floats, seen: npt.NDArray[Any]) -> dict[str, Floats]:
    """The weighted and the macro means over classes; the same as scikit-learn's, zero where it divides by zero."""
    scores = {}
    of_class = {"precision": (hits, predicted), "recall": (hits, support), "f1": (2 * hits, support + predicted)}
    for name, (over, under) in of_class.items():
        values = _ratio(over, under)
        scores[name] = _ratio((values * support).sum(axis=1), support.sum(axis=1))
        scores["macro_" + name] = values.sum(axis=1) / seen
    return scores


def _one_hot(codes: npt.NDArray[np.int64], n_classes: int) -> Floats:
    indicator: Floats = (codes[:, None] == np.arange(n_classes)).astype(np.float64)
    return indicator


def _ratio(over: Floats, under: Floats) -> Floats:
    ratio: Floats = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
    return ratio


def _auc_interval(
    true: npt.NDArray[Any], probabilities: npt.NDArray[Any], text_of: Rows, effective: float
) -> Interval | None:
    """Of the ROC AUC, or its mean over the classes; None if it is not defined.

    By each row's influence (DeLong et al., 1988), summed over the rows of a text (Obuchowski, 1997).
    """
    n_classes, rows = probabilities.shape[1], len(true)
    indicator = true if true.ndim == 2 else true[:, None] == np.arange(n_classes)
    classes = [1] if n_classes == 2 and true.ndim == 1 else range(n_classes)
    defined = [c for c in classes if indicator[:, c].any() and not indicator[:, c].all()]
    if not defined:
        return None
    measured = [auc_influence(indicator[:, c], probabilities[:, c]) for c in defined]
    spread = _spread_of(np.mean([each for _, each in measured], axis=0), text_of)
    smaller_sides = [int(min(indicator[:, c].sum(), (~indicator[:, c]).sum())) for c in defined]
    value = float(np.mean([auc for auc, _ in measured]))
    if not spread and 0 < value < 1:  # equal scores
        return value, value
    # Of few rows on one side the standard error is itself uncertain: Student's t, with their number.
    smaller = sum(smaller_sides) * effective / rows
    return wilson(value, spread, smaller, z=float(stats.t.ppf(0.975, max(1.0, smaller - 1))))


def share_interval(values: npt.NDArray[Any], text_of: Rows) -> Interval:
    """The 95 % interval of the mean of values from 0 to 1, one per row."""
    mean = float(values.mean())
    return wilson(mean, _spread_of((values - mean) / len(values), text_of), effective_rows(text_of))


def _spread_of(influence: Floats, text_of: Rows) -> float:
    """The standard error of a metric by each row's influence on it: the larger of two, as in `bootstrap`."""
    of_text, sizes = np.bincount(text_of, weights=influence), np.bincount(text_of)
    texts = int((sizes > 0).sum())
    by_text = float((of_text**2).sum()) * texts / max(1, texts - 1)
    by_size = float((influence**2).sum()) * len(influence) / max(1.0, effective_rows(text_of) - 1)
    return float(np.sqrt(max(by_text, by_size)))


def auc_influence(positive: npt.NDArray[np.bool_], scores: npt.NDArray[Any]) -> tuple[float, Floats]:
    """The ROC AUC and each row's part in how it varies, (rows,), in O(rows log rows) (Sun and Xu, 2014)."""
    ranks = stats.rankdata(scores)
    above = np.empty(len(scores))  # share of the other side's rows that the row is ordered right against
    for side, other in ((positive, ~positive), (~positive, positive)):
        above[side] = (ranks[side] - stats.rankdata(scores[side])) / other.sum()
    above[~positive] = 1 - above[~positive]
    auc = float(above[positive].mean())
    size = np.where(positive, positive.sum(), (~positive).sum())
    return auc, (above - auc) / size
