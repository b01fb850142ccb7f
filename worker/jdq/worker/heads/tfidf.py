"""The TF-IDF model: a linear support vector machine on the terms of texts. An encoder must outperform it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, vstack
from sklearn.svm import LinearSVC

from jdq.worker.heads.choice_folds import ChoiceFolds
from jdq.worker.heads.features import Rows, texts_of
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.logreg import NEVER
from jdq.worker.heads.scaled_regression import all_classes
from jdq.worker.heads.softmax_regression import Float64
from jdq.worker.heads.terms import ANALYZERS, BLOCK_TEXTS, SAMPLE_TEXTS, Terms, learn_terms, sampled

# Of a matrix of terms: ours in float32 with a column number, scikit-learn's in float64, and liblinear's own.
BYTES_PER_ENTRY = 36
BYTES_PER_WEIGHT = 32  # per term and class, with copies


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextRows:
    """The terms of these rows, which ascend: a matrix (rows, terms)."""

    terms: Terms
    rows: Rows
    matrix: csr_array
    warnings: tuple[str, ...]

    def of(self, rows: Rows) -> csr_array:
        """The matrix of some of the rows, in their order."""
        return self.matrix[np.searchsorted(self.rows, rows)]


def read_terms(context: FitContext, order: Rows) -> TextRows:
    """The terms of the first rows of the order, as many as fit into the memory bound. Raises WrongFeatures."""
    memory = context.options.memory_bytes
    some = order[:SAMPLE_TEXTS]
    ascending = texts_of(context.X, np.sort(some))
    texts = sampled([ascending[place] for place in np.argsort(np.argsort(some))])
    most = max(1000, memory // (BYTES_PER_WEIGHT * len(context.targets.classes)))
    entries, warnings = memory // BYTES_PER_ENTRY, []
    terms, per_text = learn_terms(texts, most=most)
    if per_text * len(order) > entries:
        terms, per_text = learn_terms(texts, most=most, kinds=tuple(ANALYZERS)[:1])
        warnings.append(f"words only: the characters of {len(order):,} texts do not fit into {memory >> 20} MiB")
    fitting = max(1, int(entries / max(per_text, 1)))
    if fitting < len(order):
        warnings.append(f"words of only {fitting:,} of {len(order):,} texts: more do not fit into {memory >> 20} MiB")
    rows = np.sort(order[:fitting])
    return TextRows(terms=terms, rows=rows, matrix=_matrix(context, terms, rows), warnings=tuple(warnings))


def _matrix(context: FitContext, terms: Terms, rows: Rows) -> csr_array:
    blocks: list[csr_array] = []
    for start in range(0, len(rows), BLOCK_TEXTS):
        context.check(0, 100)
        blocks.append(terms.rows(texts_of(context.X, rows[start : start + BLOCK_TEXTS])))
    return csr_array(vstack(blocks, format="csr"))


def fit_svm(context: FitContext, matrix: csr_array) -> tuple[Float64, Float64]:
    """(terms, classes) and (classes,): of the context's train rows, whose terms the matrix has."""
    codes = context.train_codes
    if not context.targets.multi_label:
        model = _svm(context).fit(matrix, codes)
        return all_classes(context, model.coef_.T, model.intercept_)
    W, b = np.zeros((matrix.shape[1], codes.shape[1])), np.zeros(codes.shape[1])
    for label, present in enumerate(codes.T):
        if present.all() or not present.any():
            b[label] = -NEVER if present.all() else NEVER
        else:
            model = _svm(context).fit(matrix, present)
            W[:, label], b[label] = model.coef_[0], model.intercept_[0]
    return W, b


def _svm(context: FitContext) -> LinearSVC:
    return LinearSVC(random_state=context.options.seed, class_weight=context.options.class_weight)


def cross_fitted(folds: ChoiceFolds, text: TextRows) -> npt.NDArray[np.float32]:
    """(known rows, classes): the scores of each fold by the others."""
    matrix = text.of(folds.rows)
    scores = []
    for part, held_out in folds.parts:
        part.check(50, 100)
        W, b = fit_svm(part, matrix[part.train])
        scores.append((matrix[held_out] @ W + b).astype(np.float32))
    return folds.scores(scores)
