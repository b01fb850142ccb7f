"""How fast heads and fine-tunes are trained, compared with scikit-learn and a plain Trainer script, and how much memory
that takes.

    python benchmarks/heads.py [PART]... [--rows N] [--rounds N] [--quick]

Without names: logreg, start and fine-tune. Both sides of a comparison take turns; each figure is the median of the
rounds, each ratio the median of the rounds' ratios. Needs the worker's packages. `memory` writes 1.5 GB to the
temporary folder (rows x 768 in float16, 1,000,000 rows unless --rows is given).

Caveats: the features are synthetic and easy, so that L-BFGS stops after about 20 iterations; harder ones take more,
which makes reading them matter less. scikit-learn gets its features in memory, in float32, at no cost. The fine-tunes
are of a small BART with random weights on the CPU: their ratio shows what jdq's batches and callbacks cost and save,
not how fast a GPU is.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from head_features import DIM, keys_of, labels_of, made_features, stored, stored_rows  # the module beside this one

PARTS = ("logreg", "start", "fine-tune")
ROWS = {"memory": 1_000_000, "large": 712_404}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="logreg, auto, large, start, fine-tune, memory")
    parser.add_argument(
        "--rows", type=int, help="rows of the features (default 100,000; memory: 1,000,000; large: 712,404)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the rows and one round: only checks that it runs"
    )
    parser.add_argument("--child", metavar="STORE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train_in_child(Path(options.child))
        return
    rounds = 1 if options.quick else options.rounds
    for part in options.parts or PARTS:
        rows = options.rows or ROWS.get(part, 100_000)
        rows = rows // 10 if options.quick else rows
        BENCHMARKS[part](rows, rounds)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report(title: str, ours: list[float], theirs: list[float], unit: str, reference: str) -> None:
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    say(
        f"{title}: jdq {statistics.median(ours):.3f} {unit}, {reference} {statistics.median(theirs):.3f} {unit}, "
        f"ratio {ratio:.2f} (rounds: {', '.join(f'{a / b:.2f}' for a, b in zip(ours, theirs, strict=True))})"
    )


def logreg(rows: int, rounds: int) -> None:
    """All of `train_head` from the store, including metrics, compared with only LogisticRegression.fit."""
    from sklearn.linear_model import LogisticRegression

    from jdq.worker.heads.split import TEST, TRAIN, make_split
    from jdq.worker.heads.train import train_head

    labels = labels_of(rows)
    split = make_split(labels, keys_of(rows))
    train, test = split.rows(TRAIN), split.rows(TEST)
    ours, theirs, accuracies = [], [], []
    with stored(rows) as store:
        X = np.asarray(stored_rows(store, rows), dtype=np.float32)
        X_train, y_train = X[train], labels[train].astype(str)
        for _ in range(rounds):
            model = LogisticRegression(max_iter=1000)
            theirs.append(timed(lambda model=model: model.fit(X_train, y_train)))
            heads: list[Any] = []
            ours.append(timed(lambda heads=heads: heads.append(train_head(stored_rows(store, rows), labels, split))))
            right = float(np.mean(model.predict(X[test]) == labels[test]))
            accuracies.append((heads[0].record.metrics["accuracy"], right))
    report(f"logreg, {rows:,} x {DIM}", ours, theirs, "s", "LogisticRegression.fit")
    say(f"  test accuracy: jdq {accuracies[0][0]:.4f}, scikit-learn {accuracies[0][1]:.4f}")


def auto(rows: int, rounds: int) -> None:
    """All of `train_head` with the default head, its choice of C included, compared with LogisticRegression.fit."""
    _compare_heads("auto", labels_of(rows), made_features(0, rows), rounds)


def large(rows: int, _rounds: int) -> None:
    """Ten classes that overlap, in 384 columns of uneven spread: one round of each head."""
    rng = np.random.default_rng(0)
    spread = np.geomspace(1, 0.05, 384).astype(np.float32)
    mixing = np.linalg.qr(rng.normal(size=(384, 384)))[0].astype(np.float32) * spread
    codes = rng.integers(0, 10, rows)
    centres = rng.normal(size=(10, 384)).astype(np.float32) * 0.2
    X = ((centres[codes] + rng.normal(size=(rows, 384)).astype(np.float32)) @ mixing).astype(np.float16)
    labels = np.array([f"class {code}" for code in codes], dtype=object)
    for head in ("logreg", "auto"):
        _compare_heads(head, labels, X, 1)


def _compare_heads(head: str, labels: Any, X: Any, rounds: int) -> None:
    from sklearn.linear_model import LogisticRegression

    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.heads.split import TEST, TRAIN, make_split
    from jdq.worker.heads.train import train_head

    split = make_split(labels, keys_of(len(labels)))
    train, test = split.rows(TRAIN), split.rows(TEST)
    X_train, y_train, X_test = X[train].astype(np.float32), labels[train].astype(str), X[test].astype(np.float32)
    options = HeadOptions(head=head, memory_bytes=4 << 30)
    ours, theirs = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        trained = train_head(X, labels, split, options)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        model = LogisticRegression(max_iter=1000).fit(X_train, y_train)
        theirs.append(time.perf_counter() - started)
    report(f"{head}, {len(X):,} x {X.shape[1]}", ours, theirs, "s", "LogisticRegression.fit")
    right, theirs_right = trained.record.metrics["accuracy"], float(np.mean(model.predict(X_test) == labels[test]))
    say(f"  test accuracy: jdq {right:.4f} ({trained.record.params}), scikit-learn {theirs_right:.4f}")
    if head == "logreg":
        ours_at, theirs_at = objective_of(trained.predictor, X_train, y_train), objective_of(model, X_train, y_train)
        say(f"  objective: jdq {ours_at:.6f}, scikit-learn {theirs_at:.6f}")


def objective_of(model: Any, X: Any, y: Any) -> float:
    """The mean loss and the penalty of C = 1, of a head of one layer or of scikit-learn's model."""
    from scipy.special import logsumexp

    W, b = model.layers[0] if hasattr(model, "layers") else (model.coef_.T, model.intercept_)
    scores = (X @ W.astype(np.float32) + b.astype(np.float32)).astype(np.float64)
    own = scores[np.arange(len(y)), np.unique(y, return_inverse=True)[1]]
    return float((logsumexp(scores, axis=1) - own).mean() + 0.5 * (W.astype(np.float64) ** 2).sum() / len(y))


def start(rows: int, rounds: int) -> None:
    """From the call to the first training step, for a second head in the same process."""
    from jdq.worker.heads.split import make_split
    from jdq.worker.heads.train import train_head

    class FirstStepError(Exception):
        pass

    def first_step(*_: int) -> None:
        raise FirstStepError

    labels = labels_of(rows)
    split = make_split(labels, keys_of(rows))
    found = []
    with stored(rows) as store:
        for _ in range(rounds + 1):
            started = time.perf_counter()
            try:
                train_head(stored_rows(store, rows), labels, split, check=first_step)
            except FirstStepError:
                found.append(time.perf_counter() - started)
    say(f"start of a second head, {rows:,} x {DIM}: {statistics.median(found[1:]):.3f} s (the first: {found[0]:.3f} s)")


def memory(rows: int, _rounds: int) -> None:
    """A separate process trains logreg from the store; its peak includes the store's mapped pages."""
    with stored(rows) as store:
        started = time.perf_counter()
        command = [sys.executable, __file__, "--child", str(store)]
        environment = os.environ | {"JDQ_BENCHMARK_ROWS": str(rows)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found = json.loads(done.stdout)
    say(
        f"logreg, {rows:,} x {DIM}: peak {found['peak_gib']:.2f} GiB, out of core: {found['out_of_core']}, "
        f"{found['wall_time_s']:.0f} s to train, {time.perf_counter() - started:.0f} s in all, "
        f"test accuracy {found['accuracy']:.4f}"
    )


def train_in_child(store: Path) -> None:
    from jdq.worker.heads.split import make_split
    from jdq.worker.heads.train import train_head

    rows = int(os.environ["JDQ_BENCHMARK_ROWS"])
    labels = labels_of(rows)
    record = train_head(stored_rows(store, rows), labels, make_split(labels, keys_of(rows))).record
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    measured = {
        "out_of_core": record.out_of_core,
        "wall_time_s": record.wall_time_s,
        "accuracy": record.metrics["accuracy"],
    }
    say(json.dumps({"peak_gib": peak} | measured))


def fine_tune(_rows: int, rounds: int) -> None:
    """Time per step of `finetune` and of a plain script, on texts of one length and of mixed lengths."""
    from fine_tune_steps import compare_steps

    for name, ours, theirs in compare_steps(rounds):
        report(f"fine-tune, {name}", ours, theirs, "s per step", "Trainer")


BENCHMARKS: dict[str, Callable[[int, int], None]] = {
    "logreg": logreg,
    "auto": auto,
    "large": large,
    "start": start,
    "memory": memory,
    "fine-tune": fine_tune,
}

if __name__ == "__main__":
    main()
