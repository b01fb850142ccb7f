"""scikit-learn estimators on texts, whose features are computed in this process and kept in the store."""

from jdq.sklearn.classifier import TextClassifier
from jdq.sklearn.features import TextFeatures

__all__ = ["TextClassifier", "TextFeatures"]
