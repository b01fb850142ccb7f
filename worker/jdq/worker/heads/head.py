"""A trained head."""

from dataclasses import dataclass

from jdq.worker.heads.decision import predicted_labels
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
        """(rows, classes) in the order of `classes`. Raises WrongFeatures if X has another width, or lacks the texts
        (`FeaturesAndTexts`) that the head reads.
        """
        if len(X.shape) != 2 or X.shape[1] != self.record.dim:
            raise WrongFeatures(f"the head takes features of width {self.record.dim}; these have the shape {X.shape}")
        return predict_in_blocks(self.predictor, X)

    def predict(self, X: Features) -> list[str]:
        """The label of each row, as `predicted_labels` chooses it."""
        return predicted_labels(
            self.predict_proba(X),
            self.classes,
            multi_label=self.record.multi_label,
            label_separator=self.record.label_separator,
            thresholds=self.record.thresholds,
        )
