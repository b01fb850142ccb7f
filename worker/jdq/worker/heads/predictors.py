"""How heads predict: with only numpy if the head is a matrix or a small net, so that loading needs no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.errors import DamagedHead
from jdq.worker.heads.features import Features, Rows, float32_blocks, texts_of

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]


class Predictor(Protocol):
    """A trained classifier: features in, one probability per class out."""

    @property
    def kind(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def outputs(self) -> int:
        """Number of classes."""

    @property
    def reads_texts(self) -> bool:
        """Whether it also predicts from texts."""

    @property
    def reads_features(self) -> bool:
        """Whether its predictions depend on the features, which otherwise need not be computed."""

    def predict_block(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        """Probabilities (rows, classes) of float32 features (rows, dim), and of their texts if it reads them."""

    def scores(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        """What the link makes probabilities of: (rows, classes)."""

    def arrays(self) -> dict[str, Array]:
        """What a head file holds; `from_arrays` of the same class reads it."""

    def settings(self) -> dict[str, Any]:
        """What `from_arrays` needs besides the arrays, as JSON values."""


def predict_in_blocks(predictor: Predictor, X: Features) -> Float32:
    """Probabilities (rows, classes) of features of any float type, block by block. Raises WrongFeatures."""
    return in_blocks(predictor.predict_block, predictor, X, np.arange(X.shape[0]))


def in_blocks(compute: Callable[..., Float32], predictor: Predictor, X: Features, rows: Rows) -> Float32:
    """(rows, classes) by the predictor's `predict_block` or `scores`, block by block. Raises WrongFeatures."""
    computed = np.empty((len(rows), predictor.outputs), dtype=np.float32)
    for start, block in float32_blocks(X, rows):
        here = slice(start, start + len(block))
        computed[here] = compute(block, texts_of(X, rows[here])) if predictor.reads_texts else compute(block)
    return computed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayersPredictor:
    """Layers with ReLU between them, then softmax (one class per row) or sigmoid (label sets).

    One layer is a linear head (logreg, linear-svm); any standardization of the features is folded into the first.
    layers: pairs of weights (in, out) and bias (out,), float32.
    """

    layers: tuple[tuple[Float32, Float32], ...]
    link: str

    @property
    def kind(self) -> str:
        return "layers"

    @property
    def dim(self) -> int:
        return int(self.layers[0][0].shape[0])

    @property
    def outputs(self) -> int:
        return int(self.layers[-1][0].shape[1])

    @property
    def reads_texts(self) -> bool:
        return False

    @property
    def reads_features(self) -> bool:
        return True

    def predict_block(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        return apply_link(self.scores(X), self.link)

    def scores(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        for weights, bias in self.layers[:-1]:
            X = np.maximum(X @ weights + bias, np.float32(0))
        weights, bias = self.layers[-1]
        return X @ weights + bias

    def arrays(self) -> dict[str, Array]:
        named = {}
        for i, (weights, bias) in enumerate(self.layers):
            named[f"weights.{i}"], named[f"bias.{i}"] = weights, bias
        return named

    def settings(self) -> dict[str, Any]:
        return {"link": self.link, "layers": len(self.layers)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> "LayersPredictor":
        """Raises DamagedHead if names, types or shapes do not make a chain of layers."""
        n_layers, link = settings.get("layers"), settings.get("link")
        if link not in ("softmax", "sigmoid") or not isinstance(n_layers, int) or not 1 <= n_layers <= 64:
            raise DamagedHead(f"a head of layers={n_layers!r}, link={link!r} is not known")
        if set(arrays) != {f"{part}.{i}" for i in range(n_layers) for part in ("weights", "bias")}:
            raise DamagedHead(f"the head's arrays are not those of {n_layers} layers: {', '.join(sorted(arrays)[:8])}")
        layers = tuple((arrays[f"weights.{i}"], arrays[f"bias.{i}"]) for i in range(n_layers))
        _check_chain(layers)
        return cls(layers=layers, link=link)


def _check_chain(layers: tuple[tuple[Array, Array], ...]) -> None:
    width = layers[0][0].shape[0]
    for weights, bias in layers:
        if weights.dtype != np.float32 or bias.dtype != np.float32 or weights.ndim != 2:
            raise DamagedHead("the head's layers are not float32 matrices")
        if weights.shape[0] != width or bias.shape != (weights.shape[1],):
            raise DamagedHead(f"the head's layers do not fit: {weights.shape} after width {width}, bias {bias.shape}")
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise DamagedHead("the head's layers hold values that are not finite")
        width = weights.shape[1]


def link_of(*, multi_label: bool) -> str:
    """What turns scores into probabilities: independent ones of a set's labels, or one distribution over classes."""
    return "sigmoid" if multi_label else "softmax"


def apply_link(scores: Float32, link: str) -> Float32:
    if link == "sigmoid":
        sigmoid: Float32 = (0.5 * (1 + np.tanh(0.5 * scores))).astype(np.float32)  # tanh does not overflow
        return sigmoid
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    softmax: Float32 = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    return softmax


def linear(
    coefficients: Array, intercept: Array, *, link: str, mean: Array | None = None, std: Array | None = None
) -> LayersPredictor:
    """scikit-learn's `coef_` (classes or 1, dim) and `intercept_` as one layer.

    A binary model's single row becomes two columns, of which the first is 0: its softmax is the sigmoid.
    With mean and std the coefficients are those of (X - mean) / std.
    """
    weights, bias = coefficients.astype(np.float64).T, np.asarray(intercept, dtype=np.float64)
    if mean is not None and std is not None:
        weights = weights / std[:, None]
        bias = bias - mean @ weights
    if weights.shape[1] == 1 and link == "softmax":
        weights, bias = np.hstack([np.zeros_like(weights), weights]), np.concatenate([[0.0], bias])
    return LayersPredictor(layers=((weights.astype(np.float32), bias.astype(np.float32)),), link=link)
