"""The head `hybrid`: the features beside the TF-IDF of their texts, in one linear model, by the path of `auto`.

An encoder knows what words mean, and blurs which ones were there; a bag of words knows only the latter. The features of
a row are as long as its terms on average, so that one penalty suits both.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy.sparse import csr_array, vstack

from jdq.worker.heads.auto import checked_params, fit_best, scale_of, with_validation
from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.features import Features, Rows, mean_and_std, texts_of
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.hybrid_predictor import HybridPredictor
from jdq.worker.heads.options import ParameterValue
from jdq.worker.heads.predictors import LayersPredictor, link_of
from jdq.worker.heads.scaled_regression import Beside, Regression, restricted
from jdq.worker.heads.softmax_regression import MEMORY, sampled_moments
from jdq.worker.heads.terms import ANALYZERS, BLOCK_TEXTS, SAMPLE_TEXTS, Terms, learn_terms, sampled

DEFAULTS: dict[str, ParameterValue] = {"C": None, "scaling": None, "max_iter": 1000, "characters": True}
# Of rows of the length 1.
PATH = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# L-BFGS keeps this many float64 vectors of all coefficients, which may take half of the memory bound.
VECTORS = 2 * MEMORY + 8
BYTES_PER_ENTRY = 8  # of a sparse matrix: a float32 and a column number


def fit_hybrid(context: FitContext) -> Fitted:
    """Raises BadParameter, and WrongFeatures where the features come without texts."""
    params = checked_params("hybrid", DEFAULTS, context.options.params)
    if not isinstance(params["characters"], bool):
        raise BadParameter(f"hybrid's characters must be true or false, not {params['characters']!r}")
    context = with_validation(context)
    terms, left_out = _terms(context, characters=params["characters"])
    beside = _beside(context, terms)
    moments = sampled_moments(beside.X, beside.train)
    mean, std = mean_and_std(beside.X, beside.train)
    scaling, scale = scale_of(params["scaling"], std, moments)
    # Rows of the length 1 on average, as those of the terms.
    scale = scale * np.sqrt(len(scale))
    zeros, ones = np.zeros(terms.columns), np.ones(terms.columns)
    regression = Regression(np.concatenate([mean, zeros]), np.concatenate([scale, ones]), moments)
    best = fit_best(beside, regression, params, PATH)
    dim, link = context.X.shape[1], link_of(multi_label=context.targets.multi_label)
    layer = LayersPredictor(layers=((best.W[:dim].astype(np.float32), best.b.astype(np.float32)),), link=link)
    predictor = HybridPredictor(layer=layer, terms=terms, term_weights=best.W[dim:].astype(np.float32))
    fitted = best.fitted(predictor, context, params, scaling)
    choice = best.choice.record(scaling) | {"terms": terms.columns}
    return dataclasses.replace(fitted, choice=choice, warnings=(*left_out, *fitted.warnings))


def _terms(context: FitContext, *, characters: bool) -> tuple[Terms, tuple[str, ...]]:
    """The terms of a sample of the train texts, and a warning where characters were left out for lack of memory."""
    rng = np.random.default_rng(context.options.seed)
    rows = np.sort(rng.permutation(context.train)[:SAMPLE_TEXTS])
    texts = sampled(rng.permutation(np.array(texts_of(context.X, rows), dtype=object)).tolist())
    memory = context.options.memory_bytes // 2
    most = max(1000, memory // (8 * VECTORS * len(context.targets.classes)))
    kinds = tuple(ANALYZERS) if characters else tuple(ANALYZERS)[:1]
    terms, per_text = learn_terms(texts, most=most, kinds=kinds)
    if len(kinds) == 1 or per_text * len(context.train) * BYTES_PER_ENTRY <= memory:
        return terms, ()
    left_out = f"words only: the characters of {len(context.train):,} texts do not fit into {memory >> 20} MiB"
    return learn_terms(texts, most=most, kinds=kinds[:1])[0], (left_out,)


def _beside(context: FitContext, terms: Terms) -> FitContext:
    """A context of the train rows only, whose features come with their terms."""
    blocks: list[csr_array] = []
    for start in range(0, len(context.train), BLOCK_TEXTS):
        context.check(0, 100)
        blocks.append(terms.rows(texts_of(context.X, context.train[start : start + BLOCK_TEXTS])))
    matrix = csr_array(vstack(blocks, format="csr"))
    return restricted(context, Beside(Picked(context.X, context.train), matrix))


class Picked:
    """Some rows of features, read when they are asked for."""

    def __init__(self, X: Features, rows: Rows) -> None:
        self._X, self._rows = X, rows
        self.shape = (len(rows), X.shape[1])

    def __getitem__(self, which: Any, /) -> Any:
        return self._X[self._rows[which]]
