"""A trained head as the rest of jdq sees it."""

from dataclasses import dataclass

import numpy as np

from jdq.worker.heads.errors import WrongFeatures
from jdq.worker.heads.features import Features
from jdq.worker.heads.predictors import Float32, Predictor, predict_in_blocks
from jdq.worker.heads.record import HeadRecord


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedHead:
    """A classifier of features, with what made it."""

    predictor: Predictor
    record: HeadRecord

    @property
    def classes(self) -> tuple[str, ...]:
        return self.record.classes

    def predict_proba(self, X: Features) -> Float32:
        """(rows, classes) in the order of `classes`. Raises WrongFeatures where X has another width."""
        if len(X.shape) != 2 or X.shape[1] != self.record.dim:
            raise WrongFeatures(f"the head takes features of width {self.record.dim}; these have the shape {X.shape}")
        return predict_in_blocks(self.predictor, X)  # type: ignore[arg-type]

    def predict(self, X: Features) -> list[str]:
        """The most probable class of each row; of multi-label heads those of 0.5 or more, joined by the separator."""
        return names_of(self.predict_proba(X), self.record)


def names_of(probabilities: Float32, record: HeadRecord) -> list[str]:
    """The predicted label of each row of probabilities (rows, classes)."""
    if not record.multi_label:
        return [record.classes[i] for i in probabilities.argmax(axis=1)]
    label_separator = record.label_separator or "|"
    return [label_separator.join(record.classes[i] for i in np.flatnonzero(row >= 0.5)) for row in probabilities]
