"""How often sets of labels have the right one, and labels that are given are right, on simulated classifiers.

    python benchmarks/conformal.py [--parts N] [--level L] [--seed S]

A classifier is half as sure as it should be, or twice as sure. Its thresholds are chosen on N parts (default 300) of
few or many texts, once or in up to 12 rows each, and measured on 20,000 other texts. Prints for each design the share
of sets with the right label (`covered`), of rows with a label (`answered`) and of these labels that are right
(`right`); for the usual alternative that trusts the probabilities, the same: the most probable classes up to the level,
and labels whose probability reaches it. Last, where rows have none to six labels: the share of a row's labels in its
set, of rows with a label, and of labels that are right.

Caveats: all texts come from one distribution. On texts of another kind nothing is promised.
"""

import argparse
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.certainty import Certainty, Requested
from jdq.worker.heads.conformal import certain, certainty_of_rows, choose_certainty
from jdq.worker.heads.decision import best_thresholds
from jdq.worker.heads.fitted import row_keys

Array = npt.NDArray[Any]
CLASSES, TESTED = 5, 20_000
REPEATED = (1, 1, 2, 3, 6, 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=300)
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    show(f"{'':42} {'jdq':^26} {'by probability':^26}")
    show(f"{'':42} {'covered answered  right':>26} {'covered answered  right':>26}")
    for sure in (0.5, 2.0):
        for gap, hard in ((1.6, "hard"), (4.0, "easy")):
            for texts in (40, 300):
                for sizes in ((1,), REPEATED):
                    tested = drawn(rng, TESTED, sizes, gap, sure)
                    found = []
                    for _ in range(chosen.parts):
                        certainty = choose_certainty(*drawn(rng, texts, sizes, gap, sure))
                        assert certainty is not None
                        found.append(kept(certainty, tested, chosen.level))
                    repeats = "repeated" if len(sizes) > 1 else "once"
                    name = f"{texts} texts, {repeats}, {hard}, {'too' if sure > 1 else 'not'} sure"
                    show(f"{name:42} {shares(np.mean(found, axis=0))} {shares(trusted(tested, chosen.level))}")
    for texts in (40, 300):
        for sizes in ((1,), REPEATED):
            found = kept_of_sets(rng, texts, sizes, chosen.level, chosen.parts)
            name = f"{texts} texts, {'repeated' if len(sizes) > 1 else 'once'}, several labels"
            show(f"{name:42} {shares(found)}")


def drawn_sets(rng: np.random.Generator, texts: int, sizes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Which of six labels each row has, their probabilities, and text keys."""
    together = rng.normal(size=(texts, 1))
    true = np.linspace(0, -2, 6) + 0.7 * together + rng.normal(size=(texts, 6)) > 0
    scores = 4 * true - 2 + rng.normal(size=(texts, 6)) + 0.5 * rng.normal(size=(texts, 1))
    text_of = np.repeat(np.arange(texts), rng.choice(sizes, texts))
    return true[text_of], (1 / (1 + np.exp(-scores / 2)))[text_of], row_keys(texts)[text_of]


def kept_of_sets(rng: np.random.Generator, texts: int, sizes: tuple[int, ...], level: float, parts: int) -> Array:
    """The mean shares of a row's labels in its set, of rows with a label, and of these rows' labels that are right."""
    tested, found = drawn_sets(rng, TESTED, sizes), []
    for _ in range(parts):
        true, probabilities, keys = drawn_sets(rng, texts, sizes)
        thresholds = best_thresholds(true, probabilities)
        certainty = choose_certainty(true, probabilities, keys, thresholds)
        if certainty is not None:
            least = certain(Requested(abstain_at=level, sets=level), certainty)
            kept = certainty_of_rows(*tested, least, thresholds)
            found.append((kept["covered"], kept["answered"], kept["answered"] * (kept["right"] or 0.0)))
    return np.mean(found, axis=0)


def drawn(
    rng: np.random.Generator, texts: int, sizes: tuple[int, ...], gap: float, sure: float
) -> tuple[Array, Array, Array]:
    """Codes, probabilities and text keys of rows."""
    true = rng.integers(CLASSES, size=texts)
    scores = sure * gap * (gap * np.eye(CLASSES)[true] + rng.normal(size=(texts, CLASSES)))
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    text_of = np.repeat(np.arange(texts), rng.choice(sizes, texts))
    return true[text_of], (exponents / exponents.sum(axis=1, keepdims=True))[text_of], row_keys(texts)[text_of]


def kept(certainty: Certainty, tested: tuple[Array, Array, Array], level: float) -> tuple[float, float, float]:
    """The shares of rows that are covered, answered, and answered right."""
    codes, probabilities, _ = tested
    covered = probabilities[np.arange(len(codes)), codes] >= certainty.least_in_set(level)
    return of_rows(covered, probabilities.max(axis=1) >= certainty.least_to_answer(level), tested)


def trusted(tested: tuple[Array, Array, Array], level: float) -> tuple[float, float, float]:
    """The same where the probabilities are believed."""
    codes, probabilities, _ = tested
    order = np.argsort(-probabilities, axis=1)
    ordered = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    covered = ((before < level) & (order == codes[:, None])).any(axis=1)
    return of_rows(covered, probabilities.max(axis=1) >= level, tested)


def of_rows(covered: Array, answered: Array, tested: tuple[Array, Array, Array]) -> tuple[float, float, float]:
    codes, probabilities, _ = tested
    right = answered & (probabilities.argmax(axis=1) == codes)
    return float(covered.mean()), float(answered.mean()), float(right.mean())


def shares(values: Any) -> str:
    covered, answered, right = values
    of_answers = f"{right / answered:6.3f}" if answered else f"{'-':>6}"
    return f"{covered:10.3f} {answered:8.3f} {of_answers}"


def show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
