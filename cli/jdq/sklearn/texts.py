"""The input of the estimators: a list, an array or a column of texts."""

from typing import Any

import numpy as np


def checked_texts(X: Any) -> list[str]:
    """The texts. Raises ValueError, with positions from 0, for values that are not texts, and for empty texts."""
    if isinstance(X, str):
        raise ValueError("Expected 1D array of texts, got one str instead\n  try: [text]")
    if getattr(X, "ndim", 1) != 1:
        raise ValueError(f"Expected 1D array of texts, got an array of shape {np.shape(X)} instead: choose one column")
    texts = list(X)
    if not texts:
        raise ValueError("Found 0 sample(s): at least one text is needed")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {position} is {type(text).__name__}, not str")
        if not text.strip():
            raise ValueError(f"text {position} is empty")
    return [str(text) for text in texts]
