"""A scikit-learn estimator as bytes, without pickle: skops, with every type and every tree checked when it is read."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import skops.io
from sklearn.base import BaseEstimator

from jdq.worker.heads.errors import BadParameter, UnsafeHead

# skops trusts scikit-learn's estimators by itself. It leaves these two to the caller, because their C code follows the
# node numbers in the file without a check: `_check_trees` checks them.
CHECKED_TYPES = {
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
}
SCORING_METHODS = ("predict_proba", "decision_function")


def dump_estimator(estimator: Any) -> bytes:
    """Raises BadParameter where the estimator holds anything that `load_estimator` would refuse."""
    data: bytes = skops.io.dumps(estimator)
    others = sorted(set(skops.io.get_untrusted_types(data=data)) - CHECKED_TYPES)
    if others:
        raise BadParameter(
            f"a head of {type(estimator).__name__} cannot be stored without pickle: it holds {', '.join(others)}"
        )
    return data


def load_estimator(data: bytes, *, dim: int) -> Any:
    """The estimator of `dump_estimator`. Raises UnsafeHead for anything else, before any of it is built."""
    _refuse_compressed(data)
    try:
        others = sorted(set(skops.io.get_untrusted_types(data=data)) - CHECKED_TYPES)
        if others:
            raise UnsafeHead(f"the head contains types that no head needs: {', '.join(others)}")
        estimator = skops.io.loads(data, trusted=sorted(CHECKED_TYPES))
    # Everything that a crafted file can make skops and the estimators' own __setstate__ raise.
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        raise UnsafeHead(f"the head's estimator cannot be read: {error}") from error
    if not isinstance(estimator, BaseEstimator) or not any(hasattr(estimator, name) for name in SCORING_METHODS):
        raise UnsafeHead(f"the head's estimator is not a classifier but {type(estimator).__name__}")
    _check_trees(estimator, dim)
    return estimator


def _refuse_compressed(data: bytes) -> None:
    """jdq writes its payloads uncompressed: without compression there is no zip bomb."""
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except zipfile.BadZipFile as error:
        raise UnsafeHead(f"the head's estimator cannot be read: {error}") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UnsafeHead("the head's estimator is compressed, which jdq never writes")


def _check_trees(estimator: Any, dim: int) -> None:
    for tree in _trees(estimator, set()):
        if type(tree).__name__ == "Tree":
            left, right, feature = tree.children_left, tree.children_right, tree.feature
            leaf = left == -1
            sound = bool((right[leaf] == -1).all()) and tree.value.shape[0] == tree.node_count
        else:
            nodes = tree.nodes
            left, right, feature = nodes["left"], nodes["right"], nodes["feature_idx"]
            leaf = nodes["is_leaf"].astype(bool)
            sound = not nodes["is_categorical"].any()
        if not sound or not _follows(left, right, feature, leaf, dim):
            raise UnsafeHead("a tree of the head points outside itself")


def _follows(left: Any, right: Any, feature: Any, leaf: Any, dim: int) -> bool:
    """Every inner node has two children further down in the array, and looks at a feature that exists."""
    inner = np.flatnonzero(~leaf)
    after = (left[inner] > inner) & (right[inner] > inner)
    inside = (left[inner] < len(leaf)) & (right[inner] < len(leaf))
    known = (feature[inner] >= 0) & (feature[inner] < dim)
    return len(leaf) > 0 and bool((after & inside & known).all())


def _trees(value: Any, seen: set[int]) -> Iterator[Any]:
    if id(value) in seen:
        return
    seen.add(id(value))
    if type(value).__name__ in ("Tree", "TreePredictor"):
        yield value
    elif isinstance(value, BaseEstimator | dict):
        for part in list((value if isinstance(value, dict) else vars(value)).values()):
            yield from _trees(part, seen)
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        for part in np.ravel(value) if isinstance(value, np.ndarray) else value:
            yield from _trees(part, seen)
