"""The numbers behind a report's plots: curves, reliability, hardest errors, near-duplicates, the map, learning."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from jdq.worker.heads.features import Features, in_float32
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.fitting import as_learnt, fit, measure
from jdq.worker.heads.split import TEST, TRAIN, Split
from jdq.worker.report.subject import LearningPoint, Subject

Floats = npt.NDArray[np.float64]

BINS = 10
LEAST_UMAP_ROWS = 50  # UMAP's neighbourhoods have 15 rows
MAP_ROWS = 2500
DUPLICATE_TEST_ROWS, DUPLICATE_TRAIN_ROWS = 2_000, 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """One class's curve; `area` is the average precision or the ROC AUC."""

    label: str
    x: Floats
    y: Floats
    area: float


def precision_recall(subject: Subject) -> list[Curve]:
    """The curve of every class in the test part; of two classes only the second."""
    curves = []
    for i in _shown_classes(subject):
        true, scores = subject.test_indicator[:, i], subject.probabilities[:, i]
        precision, recall, _ = precision_recall_curve(true, scores)
        area = float(average_precision_score(true, scores))
        curves.append(Curve(label=subject.classes[i], x=recall[::-1], y=precision[::-1], area=area))
    return curves


def roc(subject: Subject) -> list[Curve]:
    """As `precision_recall`, for classes that some test rows have and others do not."""
    curves = []
    for i in _shown_classes(subject):
        true, scores = subject.test_indicator[:, i], subject.probabilities[:, i]
        if not true.all():
            x, y, _ = roc_curve(true, scores)
            curves.append(Curve(label=subject.classes[i], x=x, y=y, area=float(roc_auc_score(true, scores))))
    return curves


def _shown_classes(subject: Subject) -> list[int]:
    if len(subject.classes) == 2 and not subject.multi_label:
        return [1] if subject.test_indicator[:, 1].any() else []
    return np.flatnonzero(subject.test_indicator.any(axis=0)).tolist()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """Bins of equal width of the predicted probability: confidence, accuracy, number. error: the mean gap."""

    confidence: Floats
    accuracy: Floats
    counts: npt.NDArray[np.int64]
    error: float


def reliability(subject: Subject) -> Reliability:
    """Over the predicted class's probability; for label sets over every label's."""
    if subject.multi_label:
        sure, right = subject.probabilities.ravel(), subject.test_indicator.ravel().astype(np.float64)
    else:
        sure = subject.probabilities.max(axis=1)
        right = (subject.probabilities.argmax(axis=1) == subject.test_codes).astype(np.float64)
    bins = np.minimum((sure * BINS).astype(np.intp), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = np.maximum(counts, 1)
    confidence = np.bincount(bins, weights=sure, minlength=BINS) / filled
    accuracy = np.bincount(bins, weights=right, minlength=BINS) / filled
    error = float((counts / counts.sum() * np.abs(confidence - accuracy)).sum())
    return Reliability(confidence=confidence, accuracy=accuracy, counts=counts, error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A test row whose predicted class is wrong, with the probabilities of the true and the predicted class."""

    row: int
    text: str
    true: str
    predicted: str
    p_true: float
    p_predicted: float


def hardest_errors(subject: Subject, *, limit: int = 12) -> list[Mistake]:
    """The errors with the highest predicted probability, highest first. Rows count from 1."""
    if subject.multi_label:
        return []
    predicted, true = subject.probabilities.argmax(axis=1), subject.test_codes
    wrong = np.flatnonzero(predicted != true)
    order = wrong[np.argsort(-subject.probabilities[wrong, predicted[wrong]], kind="stable")][:limit]
    return [
        Mistake(
            row=int(subject.test_rows[i]) + 1,
            text=subject.texts[int(subject.test_rows[i])],
            true=subject.classes[true[i]],
            predicted=subject.classes[predicted[i]],
            p_true=float(subject.probabilities[i, true[i]]),
            p_predicted=float(subject.probabilities[i, predicted[i]]),
        )
        for i in order
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A test text with a near-duplicate in the train part. Rows count from 1."""

    test_row: int
    train_row: int
    similarity: float
    test_text: str
    train_text: str


def near_duplicates(
    texts: Sequence[str], split: Split, *, least: float = 0.7, limit: int = 10
) -> tuple[int, list[Duplicate]]:
    """How many test texts have a near-duplicate in the train part, and the nearest pairs.

    Similarity is the Jaccard index of the texts' runs of three words. In large datasets 2,000 test rows are compared
    with 20,000 train rows, both drawn by a fixed seed.
    """
    rng = np.random.default_rng(0)
    test = rng.permutation(split.rows(TEST))[:DUPLICATE_TEST_ROWS]
    train = rng.permutation(split.rows(TRAIN))[:DUPLICATE_TRAIN_ROWS]
    hashing = HashingVectorizer(ngram_range=(3, 3), binary=True, norm=None, n_features=2**20, token_pattern=r"(?u)\S+")
    framed = [["^ ^ " + texts[row] + " $ $" for row in rows] for rows in (test, train)]
    of_test, of_train = (hashing.transform(some) for some in framed)
    train_sizes = np.asarray(of_train.sum(axis=1)).ravel()
    pairs = []
    for position, row in enumerate(test):
        shared = (of_train @ of_test[position].T).toarray().ravel()
        jaccard = shared / np.maximum(train_sizes + of_test[position].sum() - shared, 1)
        nearest = int(jaccard.argmax())
        if jaccard[nearest] >= least:
            pairs.append((float(jaccard[nearest]), int(row), int(train[nearest])))
    pairs.sort(key=lambda pair: (-pair[0], pair[1]))
    return len(pairs), [
        Duplicate(test_row=a + 1, train_row=b + 1, similarity=s, test_text=texts[a], train_text=texts[b])
        for s, a, b in pairs[:limit]
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map:
    """Some rows in two dimensions. explained: each axis's share of the variance; None for a UMAP."""

    rows: npt.NDArray[np.intp]
    points: Floats
    explained: tuple[float, float] | None


def feature_map(X: Features, *, seed: int = 0) -> Map:
    """At most MAP_ROWS rows, drawn by the seed: their UMAP where that package is installed (the extra `umap`).

    Else, and for few rows, their first two principal components.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(X.shape[0])[:MAP_ROWS])
    if find_spec("umap") and len(rows) >= LEAST_UMAP_ROWS:
        from umap import UMAP

        points = UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(in_float32(X, rows))
        return Map(rows=rows, points=points.astype(np.float64), explained=None)
    pca = PCA(n_components=2, random_state=seed)
    points = pca.fit_transform(in_float32(X, rows))
    first, second = pca.explained_variance_ratio_
    return Map(rows=rows, points=points.astype(np.float64), explained=(float(first), float(second)))


def learning_curve(context: FitContext, test_rows: npt.NDArray[np.intp], *, steps: int = 6) -> list[LearningPoint]:
    """The head trained on growing parts of the train rows, each measured on the test rows.

    Each part holds the smaller ones, and has at least one row of every class that the train rows have.
    """
    context = as_learnt(context)
    order = _even_order(context)
    first = max(len(context.present()), min(20, len(order)))
    sizes = np.unique(np.geomspace(first, len(order), steps).round().astype(int)).tolist()
    points = []
    for number, size in enumerate(sizes):
        context.check(number, len(sizes))
        part = dataclasses.replace(context, train=np.sort(order[:size]))
        metrics = measure(fit(part).predictor, context.X, context.targets, test_rows)
        points.append(LearningPoint(rows=size, accuracy=metrics["accuracy"], macro_f1=metrics["macro_f1"]))
    return points


def _even_order(context: FitContext) -> npt.NDArray[np.intp]:
    """The train rows in an order whose every prefix has the classes in their proportions, one of each first."""
    rows = np.random.default_rng(context.options.seed).permutation(context.train)
    codes = context.targets.codes[rows]
    stratum = codes.argmax(axis=1) if codes.ndim == 2 else codes
    rank = np.empty(len(rows))
    for code in np.unique(stratum):
        of_class = np.flatnonzero(stratum == code)
        rank[of_class] = np.arange(len(of_class)) / len(of_class)
    return rows[np.argsort(rank, kind="stable")]
