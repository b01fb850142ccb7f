"""`TextFeatures` turns texts into features of an encoder; those in the store are not computed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from jdq.client.device import local_device
from jdq.sklearn.texts import checked_texts
from jdq.worker.encoder.errors import EncoderError
from jdq.worker.encoder.options import AUTO, automatic_precision, device_kind

if TYPE_CHECKING:
    from jdq.store.spaces.definition import FeatureSpace
    from jdq.store.store import Store
    from jdq.worker.config import Config
    from jdq.worker.encoder.by_name import FeatureEncoder

Texts = Sequence[str] | npt.NDArray[Any]


class TextFeatures(TransformerMixin, BaseEstimator):
    """Turns texts into features, (n, dim) float32, computed in this process and kept in the store.

    encoder: a hub name, a folder, the id of a fine-tune, or None for the configured one. max_length: tokens per text;
    None is the encoder's limit. precision, pooling: as for `jdq submit extract`. store: its folder, or None for the
    configured one.

    Attributes after `fit`: `space_`, the digest of the feature space; `n_features_out_`, its columns.
    """

    def __init__(
        self,
        encoder: str | None = None,
        *,
        max_length: int | None = None,
        precision: str = AUTO,
        pooling: str = AUTO,
        store: str | None = None,
    ) -> None:
        self.encoder = encoder
        self.max_length = max_length
        self.precision = precision
        self.pooling = pooling
        self.store = store

    def fit(self, X: Texts, y: object = None) -> Self:
        """Checks the texts, and derives the feature space from the encoder's files.

        Raises ValueError for texts that cannot be used, EncoderError.
        """
        checked_texts(X)
        definition = _Encoding(self).definition
        self.space_, self.n_features_out_ = definition.digest, definition.dim
        return self

    def transform(self, X: Texts) -> npt.NDArray[np.float32]:
        """The features, after computing those that the store lacks. Raises ValueError, EncoderError, StoreError."""
        check_is_fitted(self)
        texts = checked_texts(X)
        encoding = _Encoding(self)
        if encoding.definition.digest != self.space_:
            raise EncoderChanged("the encoder's files or settings have changed since fit\n  try: fit again")
        return encoding.features(texts)

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """feature0, feature1 and so on."""
        check_is_fitted(self)
        return np.array([f"feature{column}" for column in range(self.n_features_out_)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


class EncoderChanged(EncoderError):
    """The encoder's features differ from those on which an estimator was fitted."""


class _Encoding:
    """The feature space that an estimator's parameters select on this machine."""

    def __init__(self, estimator: TextFeatures) -> None:
        from jdq.store.store import open_store
        from jdq.store.trained import Models
        from jdq.worker.config import read_config
        from jdq.worker.encoder.by_name import poolings_of, precision_of, space_of
        from jdq.worker.encoder.options import parse_poolings
        from jdq.worker.queue.precision import settle_precision

        self.config: Config = read_config()
        self.device = local_device(self.config)
        self.store: Store = open_store(estimator.store or self.config.store)
        self.encoder = estimator.encoder or self.config.encoder
        self.files = Models(self.store.root).encoder(self.encoder)
        pooling, *others = poolings_of(self.files, parse_poolings(estimator.pooling)).names
        if others:
            raise ValueError(f"one pooling is needed, not {estimator.pooling!r}")
        kind = device_kind([self.device])
        precision = precision_of(
            estimator.precision,
            self.files,
            kind,
            [pooling],
            lambda: settle_precision(None, self.store, automatic_precision(kind)),
        )
        self.definition: FeatureSpace = space_of(
            self.files,
            max_length=estimator.max_length,
            precision=precision,
            storage_dtype="float16",
            pooling=pooling,
        )

    def features(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(n, dim), in order."""
        from jdq.worker.jobs.stored_features import stored_features

        space = self.store.space(self.definition)
        features = stored_features(space, texts, self._load, name=self.encoder, device=self.device)
        return features.astype(np.float32)

    def _load(self) -> FeatureEncoder:
        from jdq.worker.encoder.by_name import load

        of = self.definition
        return load(
            self.files, max_length=of.max_length, precision=of.precision, device=self.device, poolings=[of.pooling]
        )
