"""Estimators as bytes: what is written is read back, and nothing else is."""

import io
import warnings
import zipfile
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from jdq.worker.heads import payload
from jdq.worker.heads.errors import BadParameter, UnsafeHead
from jdq.worker.heads.payload import SVM_ARRAYS, _check_trees, _follows, _trees, dump_estimator, load_estimator

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 4)), np.arange(80) % 3
FOREST = RandomForestClassifier(3, random_state=0).fit(X, Y)
BOOSTED = HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(X, Y)


@pytest.mark.parametrize("estimator", [FOREST, BOOSTED, KNeighborsClassifier(algorithm="brute").fit(X, Y)])
def test_an_estimator_comes_back(estimator: Any) -> None:
    data = dump_estimator(estimator)
    assert isinstance(data, bytes)
    assert (load_estimator(data, dim=4).predict_proba(X) == estimator.predict_proba(X)).all()


def test_what_needs_pickle_is_not_written() -> None:
    model = make_pipeline(KNeighborsClassifier(algorithm="brute")).fit(X, Y)
    model.steps[0][1].other = [complex, np.sort]
    with pytest.raises(BadParameter) as caught:
        dump_estimator(model)
    assert (
        str(caught.value) == "a head of Pipeline cannot be stored without pickle: it holds builtins.complex, numpy.sort"
    )


def test_types_that_no_head_needs_are_named() -> None:
    model = KNeighborsClassifier(algorithm="brute").fit(X, Y)
    model.other = [np.sort, complex]
    with pytest.raises(UnsafeHead) as caught:
        load_estimator(skops.io.dumps(model), dim=4)
    assert str(caught.value) == "the head contains types that no head needs: builtins.complex, numpy.sort"


@pytest.mark.parametrize(("value", "kind"), [([1, 2], "list"), (LinearRegression(), "LinearRegression")])
def test_what_is_no_classifier_is_refused_by_its_type(value: Any, kind: str) -> None:
    with pytest.raises(UnsafeHead) as caught:
        load_estimator(skops.io.dumps(value), dim=4)
    assert str(caught.value) == f"the head's estimator is not a classifier but {kind}"


def archive(compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        for name, content in entries.items():
            written.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the head's estimator cannot be read: File is not a zip file"),
        (archive(), "the head's estimator cannot be read: \"There is no item named 'schema.json' in the archive\""),
        (archive(schema_json=b"{"), "the head's estimator cannot be read: Expecting property name"),
        (archive(schema_json=b"[]"), "the head's estimator cannot be read: 'list' object has no attribute 'get'"),
        (
            archive(zipfile.ZIP_DEFLATED, schema_json=b"{}"),
            "the head's estimator is compressed, which jdq never writes",
        ),
    ],
)
def test_bytes_that_are_no_estimator_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(UnsafeHead) as caught:
        load_estimator(data, dim=4)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("estimator", [FOREST, BOOSTED], ids=["forest", "boosted"])
def test_trees_that_look_at_features_beyond_the_width_are_refused(estimator: Any) -> None:
    widest = max(
        int(tree.feature.max() if hasattr(tree, "feature") else tree.nodes["feature_idx"].max())
        for tree in _trees(estimator, set())
    )
    _check_trees(estimator, widest + 1)
    with pytest.raises(UnsafeHead) as caught:
        _check_trees(estimator, widest)
    assert str(caught.value) == "a tree of the head points outside itself"


def test_every_tree_is_found_wherever_it_is_held() -> None:
    held: Any = {"a": [FOREST.estimators_[0], (FOREST.estimators_[1],)], "b": np.array([FOREST, None], dtype=object)}
    assert len(list(_trees(held, set()))) == 3
    assert len(list(_trees(OneVsRestClassifier(FOREST).fit(X, Y), set()))) == 12
    assert len(list(_trees(make_pipeline(BOOSTED), set()))) == 6
    cycle: list[Any] = [FOREST]
    cycle.append(cycle)
    assert len(list(_trees(cycle, set()))) == 3


@pytest.mark.parametrize(
    ("left", "right", "feature", "sound"),
    [
        ([1, -1, -1], [2, -1, -1], [0, -2, -2], True),
        ([-1], [-1], [-2], True),
        ([], [], [], False),
        ([0, -1, -1], [2, -1, -1], [0, -2, -2], False),  # its own child
        ([1, -1, -1], [0, -1, -1], [0, -2, -2], False),
        ([3, -1, -1], [2, -1, -1], [0, -2, -2], False),  # beyond the end
        ([1, -1, -1], [3, -1, -1], [0, -2, -2], False),
        ([1, -1, -1], [2, -1, -1], [-1, -2, -2], False),  # no such feature
        ([1, -1, -1], [2, -1, -1], [4, -2, -2], False),
        ([1, -1, -1], [2, -1, -1], [3, -2, -2], True),
    ],
)
def test_the_nodes_of_a_tree_point_onward_and_at_features_that_exist(
    left: list[int], right: list[int], feature: list[int], sound: bool
) -> None:
    nodes = np.array(left, dtype=np.int64)
    assert _follows(nodes, np.array(right, np.int64), np.array(feature, np.int64), nodes == -1, 4) is sound


class Tree:
    """As scikit-learn's, with the numbers that a crafted file may hold."""

    def __init__(self, right: list[int], values: int) -> None:
        self.children_left, self.children_right = np.array([1, -1, -1]), np.array(right)
        self.feature, self.node_count, self.value = np.array([0, -2, -2]), 3, np.zeros((values, 1, 2))


class TreePredictor:
    def __init__(self, categorical: bool, left: int) -> None:
        kinds = [("left", "u4"), ("right", "u4"), ("feature_idx", "i8"), ("is_leaf", "u1"), ("is_categorical", "u1")]
        self.nodes = np.array([(left, 2, 0, 0, categorical), (0, 0, 0, 1, 0), (0, 0, 0, 1, 0)], dtype=kinds)


@pytest.mark.parametrize(
    ("tree", "sound"),
    [
        (Tree([2, -1, -1], 3), True),
        (Tree([2, 2, -1], 3), False),  # a leaf with one child
        (Tree([2, -1, -1], 2), False),  # fewer values than nodes
        (TreePredictor(False, 1), True),
        (TreePredictor(True, 1), False),
        (TreePredictor(False, 0), False),
    ],
)
def test_a_tree_is_checked_before_scikit_learn_follows_it(tree: Any, sound: bool) -> None:
    if sound:
        _check_trees([tree], 4)
        return
    with pytest.raises(UnsafeHead, match="a tree of the head points outside itself"):
        _check_trees([tree], 4)


def test_only_the_checked_types_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dump_estimator(FOREST)
    monkeypatch.setattr(payload, "CHECKED_TYPES", set())
    with pytest.raises(UnsafeHead, match=r"types that no head needs: sklearn.tree._tree.Tree$"):
        load_estimator(data, dim=4)


def svc(**changed: Any) -> SVC:
    """A support vector machine of three classes with changed attributes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = SVC(probability=True, random_state=0).fit(X, Y)
    vars(found).update(changed)
    return found


SOUND = svc()
SHORTER = {name: getattr(SOUND, name)[:-1] for name in SVM_ARRAYS}


@pytest.mark.parametrize(
    "changed",
    [
        *({name: value} for name, value in SHORTER.items()),
        {"_dual_coef_": SOUND._dual_coef_[:, :5]},
        {"support_vectors_": SOUND.support_vectors_[:, :2].copy()},
        {"classes_": np.arange(4)},
        {"classes_": [0, 1, 2]},
        {"_n_support": SOUND._n_support + np.array([1, 0, -1], dtype=np.int32)[::-1] * 100},
        {"_n_support": SOUND._n_support + 1},
        {"_probA": SOUND._probA[:2], "_probB": SOUND._probB[:2]},
        {"_sparse": True},
        {"_impl": "epsilon_svr"},
        {"kernel": "precomputed"},
    ],
    ids=lambda changed: " ".join(changed),
)
def test_support_vectors_that_do_not_fit_together_are_refused(changed: dict[str, Any]) -> None:
    data = dump_estimator(OneVsRestClassifier(SVC()).fit(X, Y))
    load_estimator(data, dim=4)
    with pytest.raises(UnsafeHead, match="the support vectors of the head do not fit its other arrays"):
        load_estimator(dump_estimator(make_pipeline(svc(**changed))), dim=4)


def test_sound_support_vectors_come_back() -> None:
    no_probabilities = SVC().fit(X, Y % 2)
    for estimator in (SOUND, no_probabilities):
        found = load_estimator(dump_estimator(estimator), dim=4)
        assert (found.decision_function(X) == estimator.decision_function(X)).all()


def test_an_attribute_that_is_missing_is_refused() -> None:
    changed = svc()
    del changed.classes_
    with pytest.raises(UnsafeHead, match="do not fit"):
        load_estimator(dump_estimator(changed), dim=4)
