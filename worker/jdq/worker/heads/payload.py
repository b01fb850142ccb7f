"""A scikit-learn estimator as bytes, without pickle: by skops, with checks of everything that C code would trust."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import skops.io
from sklearn.base import BaseEstimator
from sklearn.svm._base import BaseSVC

from jdq.worker.heads.errors import BadParameter, UnsafeHead

# skops trusts scikit-learn's estimators by itself. It leaves these two to the caller, because their C code follows the
# node numbers in the file without a check: `_check_trees` checks them.
CHECKED_TYPES = {
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
}
# Those that compute with the features themselves; "precomputed" reads columns of the texts by numbers in the file.
SVM_KERNELS = ("linear", "poly", "rbf", "sigmoid")
SVM_ARRAYS = ("support_vectors_", "support_", "_n_support", "_dual_coef_", "_intercept_", "_probA", "_probB")
SCORING_METHODS = ("predict_proba", "decision_function")


def dump_estimator(estimator: Any) -> bytes:
    """Raises BadParameter if the estimator holds anything that `load_estimator` would refuse."""
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
    # Everything that skops and the estimators' own __setstate__ may raise for a crafted file.
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        raise UnsafeHead(f"the head's estimator cannot be read: {error}") from error
    if not isinstance(estimator, BaseEstimator) or not any(hasattr(estimator, name) for name in SCORING_METHODS):
        raise UnsafeHead(f"the head's estimator is not a classifier but {type(estimator).__name__}")
    _check_trees(estimator, dim)
    for part in _held(estimator, set()):
        if isinstance(part, BaseSVC) and not _fits_together(part):
            raise UnsafeHead("the support vectors of the head do not fit its other arrays")
    return estimator


def _refuse_compressed(data: bytes) -> None:
    """jdq writes its payloads uncompressed, and without compression there is no zip bomb."""
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


def _fits_together(svm: Any) -> bool:
    """Whether the arrays have the lengths that libsvm's C code takes for granted; true of an untrained estimator."""
    if not any(name in vars(svm) for name in SVM_ARRAYS):
        return True
    arrays: list[Any] = [getattr(svm, name, None) for name in SVM_ARRAYS]
    if not all(isinstance(array, np.ndarray) for array in (*arrays, getattr(svm, "classes_", None))):
        return False
    vectors, support, n_support, dual_coef, intercept, prob_a, prob_b = arrays
    n, n_classes = len(support), len(svm.classes_)
    pairs = (n_classes * (n_classes - 1) // 2,)
    return (
        (svm._sparse, svm._impl in ("c_svc", "nu_svc"), svm.kernel in SVM_KERNELS) == (False, True, True)
        and vectors.shape == (n, svm.n_features_in_)
        and support.shape == (n,)
        and n_support.shape == (n_classes,)
        and bool((n_support >= 0).all())
        and n_support.sum() == n
        and dual_coef.shape == (n_classes - 1, n)
        and intercept.shape == pairs
        and prob_a.shape == prob_b.shape
        and prob_a.shape in ((0,), pairs)
    )


def _trees(value: Any, seen: set[int]) -> Iterator[Any]:
    return (part for part in _held(value, seen) if _is_tree(part))


def _is_tree(value: Any) -> bool:
    return type(value).__name__ in ("Tree", "TreePredictor")


def _held(value: Any, seen: set[int]) -> Iterator[Any]:
    """The estimators and trees that a value holds, itself included."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if _is_tree(value) or isinstance(value, BaseEstimator):
        yield value
    if isinstance(value, BaseEstimator | dict):
        for part in list((value if isinstance(value, dict) else vars(value)).values()):
            yield from _held(part, seen)
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        for part in np.ravel(value) if isinstance(value, np.ndarray) else value:
            yield from _held(part, seen)
