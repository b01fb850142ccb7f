"""`TextClassifier`: a head on the features of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from jdq.sklearn.features import TextFeatures, Texts
from jdq.sklearn.texts import checked_texts
from jdq.worker.encoder.options import AUTO
from jdq.worker.heads.options import DEFAULT_HEAD

if TYPE_CHECKING:
    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.heads.predictors import Predictor


class TextClassifier(ClassifierMixin, BaseEstimator):
    """A head of jdq on the features of `TextFeatures`, trained on all rows that `fit` gets.

    encoder, max_length, precision, pooling, store: those of `TextFeatures`. head: its kind, as for `jdq submit
    train-head`; params: its parameters, such as {"C": 0.1}. class_weight: "balanced" or None. random_state: an int.

    Attributes after `fit`: `classes_`, and `features_`, the fitted TextFeatures.
    """

    def __init__(
        self,
        encoder: str | None = None,
        *,
        head: str = DEFAULT_HEAD,
        params: Mapping[str, Any] | None = None,
        class_weight: Literal["balanced"] | None = None,
        max_length: int | None = None,
        precision: str = AUTO,
        pooling: str = AUTO,
        store: str | None = None,
        random_state: int = 0,
    ) -> None:
        self.encoder = encoder
        self.head = head
        self.params = params
        self.class_weight = class_weight
        self.max_length = max_length
        self.precision = precision
        self.pooling = pooling
        self.store = store
        self.random_state = random_state

    def fit(self, X: Texts, y: npt.ArrayLike) -> Self:
        """Computes the features that the store lacks, and trains the head.

        Raises ValueError for texts and labels that cannot be used, HeadError, EncoderError, StoreError.
        """
        options = self._options()
        texts = checked_texts(X)
        labels = _checked_labels(y)
        check_consistent_length(texts, labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"all labels are one class: {self.classes_[0]!r}; a classifier needs two")
        self.features_ = TextFeatures(
            self.encoder, max_length=self.max_length, precision=self.precision, pooling=self.pooling, store=self.store
        ).fit(texts)
        self._predictor = self._trained(texts, codes.astype(np.int64), options)
        return self

    def predict_proba(self, X: Texts) -> npt.NDArray[np.float32]:
        """(n, classes), in the order of `classes_`."""
        from jdq.worker.heads.features import with_texts
        from jdq.worker.heads.predictors import predict_in_blocks

        check_is_fitted(self)
        return predict_in_blocks(self._predictor, with_texts(self.features_.transform(X), checked_texts(X)))

    def predict(self, X: Texts) -> npt.NDArray[Any]:
        """(n,): the most probable class of each text."""
        probabilities = self.predict_proba(X)
        labels: npt.NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def _options(self) -> HeadOptions:
        from jdq.worker.heads.options import HeadOptions, check_head, check_params

        check_head(self.head, allowed=[self.head] if "." in self.head else [])
        params = dict(self.params or {})
        check_params(self.head, params)
        return HeadOptions(head=self.head, params=params, class_weight=self.class_weight, seed=self.random_state)

    def _trained(self, texts: Sequence[str], codes: npt.NDArray[np.int64], options: HeadOptions) -> Predictor:
        from jdq.store.keys import text_keys
        from jdq.worker.heads.features import no_check, with_texts
        from jdq.worker.heads.fitted import FitContext
        from jdq.worker.heads.fitting import fit
        from jdq.worker.heads.labels import Targets

        context = FitContext(
            X=with_texts(self.features_.transform(texts), texts),
            targets=Targets(classes=tuple(map(str, self.classes_)), codes=codes),
            train=np.arange(len(texts)),
            validation=np.arange(0),
            options=options,
            check=no_check,
            keys=text_keys(texts),
        )
        return fit(context).predictor

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = tags.input_tags.string = True
        return tags


def _checked_labels(y: Any) -> npt.NDArray[Any]:
    """(n,): numbers or texts. Raises ValueError."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    labels: npt.NDArray[Any] = column_or_1d(y, warn=True)
    if labels.dtype == object and (missing := pd.isna(labels)).any():
        raise ValueError(f"label {missing.argmax()} is missing")
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels
