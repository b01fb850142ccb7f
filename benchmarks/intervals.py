"""How often 95 % intervals hold the true value, on simulated test parts: repeated texts, rare classes, few rows.

    python benchmarks/intervals.py [--parts N] [--seed S]

Prints for each design the share of N test parts (default 1,000) whose interval holds the metric of endless test parts,
for jdq's intervals and for those of a plain bootstrap over rows (2.5 and 97.5 % quantiles), the usual alternative. A
share over 1,000 parts has a standard error of 0.7 points.

Caveats: a text's rows have one label, and the classifier's mistakes are independent of a text's frequency.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.metrics import f1_score

from jdq.worker.heads.intervals import bootstrap

RESAMPLES = 200


@dataclass(frozen=True, kw_only=True)
class Design:
    """texts: in a test part. size: of a text, in rows. shares: of the classes. accuracy: in each of them."""

    name: str
    texts: int
    size: Callable[[np.random.Generator, int], Any]
    shares: tuple[float, ...]
    accuracy: float


def once(_rng: np.random.Generator, n: int) -> Any:
    return np.ones(n, dtype=int)


def about_six(rng: np.random.Generator, n: int) -> Any:
    return 1 + rng.poisson(5, n)


def heavy(rng: np.random.Generator, n: int) -> Any:
    return rng.choice([1, 2, 3, 6, 12, 20], n)


EVEN2, EVEN4, SKEWED = (0.5, 0.5), (0.25,) * 4, (0.5, 0.2, 0.1, 0.1, 0.05, 0.05)
DESIGNS = [
    Design(name="100 rows, 2 classes", texts=100, size=once, shares=EVEN2, accuracy=0.9),
    Design(name="32 texts, about 6 rows each", texts=32, size=about_six, shares=EVEN4, accuracy=0.87),
    Design(name="32 texts, 1 to 20 rows each", texts=32, size=heavy, shares=EVEN4, accuracy=0.87),
    Design(name="200 texts, 1 to 20 rows each", texts=200, size=heavy, shares=EVEN4, accuracy=0.8),
    Design(name="300 rows, 6 skewed classes", texts=300, size=once, shares=SKEWED, accuracy=0.8),
    Design(name="1000 rows, 4 classes", texts=1000, size=once, shares=EVEN4, accuracy=0.7),
]
AUC_DESIGNS = [(100, 0.5, 1.2, once), (100, 0.2, 2.0, once), (60, 0.5, 1.2, about_six), (500, 0.1, 1.5, once)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    show(f"{'':34} {'metric':10} {'jdq':>6} {'rows':>6}")
    for design in DESIGNS:
        for name, (ours, plain) in coverage(design, chosen.parts, rng).items():
            show(f"{design.name:34} {name:10} {ours:6.3f} {plain:6.3f}")
    for texts, share, shift, size in AUC_DESIGNS:
        ours, plain = auc_coverage(texts, share, shift, size, chosen.parts, rng)
        name = f"{texts} texts, {share:.0%} positive, {size.__name__}"
        show(f"{name:34} {'roc_auc':10} {ours:6.3f} {plain:6.3f}")


def show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def coverage(design: Design, parts: int, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    n = len(design.shares)
    truth = _truth(design)
    held: dict[str, list[tuple[bool, bool]]] = {name: [] for name in truth}
    for _ in range(parts):
        true = rng.choice(n, design.texts, p=design.shares)
        wrong = rng.random(design.texts) > design.accuracy
        predicted = np.where(wrong, (true + rng.integers(1, n, design.texts)) % n, true)
        rows = np.repeat(np.arange(design.texts), design.size(rng, design.texts))
        ours = bootstrap(true[rows], np.eye(n)[predicted][rows], keys=_keys(rows), resamples=RESAMPLES)
        plain = _plain(true[rows], predicted[rows], rng)
        for name, value in truth.items():
            held[name].append((_holds(ours[name], value), _holds(plain[name], value)))
    return {name: tuple(np.mean(values, axis=0).tolist()) for name, values in held.items()}  # type: ignore[misc]


def auc_coverage(
    texts: int, share: float, shift: float, size: Callable[..., Any], parts: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Scores are normal, those of positive texts `shift` higher."""
    truth, held = float(norm.cdf(shift / np.sqrt(2))), []
    while len(held) < parts:
        positive = rng.random(texts) < share
        if positive.all() or not positive.any():
            continue
        scores = norm.cdf(rng.normal(size=texts) + shift * positive)
        rows = np.repeat(np.arange(texts), size(rng, texts))
        true, probabilities = positive[rows].astype(int), np.stack([1 - scores, scores], axis=1)[rows]
        ours = bootstrap(true, probabilities, keys=_keys(rows), resamples=2)["roc_auc"]
        draws = rng.integers(0, len(rows), (RESAMPLES, len(rows)))
        aucs = roc_aucs(true[draws], probabilities[draws, 1])
        plain = np.quantile(aucs, [0.025, 0.975])
        held.append((_holds(ours, truth), _holds((float(plain[0]), float(plain[1])), truth)))
    ours_held, plain_held = np.mean(held, axis=0).tolist()
    return ours_held, plain_held


def roc_aucs(true: Any, scores: Any) -> Any:
    """Of each line (draws, rows) that has both classes, by ranks: the same as sklearn.metrics.roc_auc_score."""
    positive = true.sum(axis=1)
    varied = (positive > 0) & (positive < true.shape[1])
    true, scores, positive = true[varied], scores[varied], positive[varied]
    ranks = (rankdata(scores, axis=1) * true).sum(axis=1)
    return (ranks - positive * (positive + 1) / 2) / (positive * (true.shape[1] - positive))


def _truth(design: Design) -> dict[str, float]:
    """The metrics of endless test parts: of the exact confusion matrix."""
    n, shares = len(design.shares), np.array(design.shares)
    matrix = np.full((n, n), (1 - design.accuracy) / (n - 1))
    np.fill_diagonal(matrix, design.accuracy)
    true, predicted = np.divmod(np.arange(n * n), n)
    weights = (shares[:, None] * matrix).ravel()
    macro = f1_score(true, predicted, average="macro", sample_weight=weights)
    return {"accuracy": design.accuracy, "macro_f1": float(macro)}


def _plain(true: Any, predicted: Any, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    values: dict[str, list[float]] = {"accuracy": [], "macro_f1": []}
    n = max(true.max(), predicted.max()) + 1
    for _ in range(RESAMPLES):
        draw = rng.integers(0, len(true), len(true))
        matrix = np.bincount(true[draw] * n + predicted[draw], minlength=n * n).reshape(n, n)
        both = matrix.sum(axis=0) + matrix.sum(axis=1)
        values["accuracy"].append(matrix.trace() / matrix.sum())
        values["macro_f1"].append(float((2 * matrix.diagonal()[both > 0] / both[both > 0]).mean()))
    low_high = {name: np.quantile(each, [0.025, 0.975]).tolist() for name, each in values.items()}
    return {name: (low, high) for name, (low, high) in low_high.items()}


def _keys(rows: Any) -> Any:
    keys = np.zeros((len(rows), 16), dtype=np.uint8)
    keys[:, :8] = rows.astype(np.uint64).view(np.uint8).reshape(-1, 8)
    return keys


def _holds(interval: tuple[float, float], value: float) -> bool:
    return bool(interval[0] <= value <= interval[1])


if __name__ == "__main__":
    main()
