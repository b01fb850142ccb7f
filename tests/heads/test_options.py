"""What the client knows of heads is what the installed packages have."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jdq.worker.heads import auto
from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.estimators import RECIPES
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.mlp import DEFAULTS
from jdq.worker.heads.options import HEADS, METRICS, PARAMETERS, check_metric, check_params


def test_the_parameters_of_each_head_are_those_of_its_estimator() -> None:
    known = {name: {*recipe.estimator().get_params(), "scale"} for name, recipe in RECIPES.items()}
    # Set by options of their own.
    known["logreg"] = {*LogisticRegression().get_params(), "scale"} - {"class_weight", "random_state"}
    known["mlp"] = set(DEFAULTS)
    known["auto"] = known["linear"] = known["hybrid"] = set(auto.DEFAULTS)
    known["tf-idf"] = set()
    assert {name: set(names) for name, names in PARAMETERS.items()} == known
    assert set(PARAMETERS) == set(HEADS)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_search_can_optimize_the_numbers_that_are_measured(multi_label: bool) -> None:
    codes = np.array([[True, False], [True, True]]) if multi_label else np.array([0, 1])
    measured = metrics_of(codes, np.array([[0.9, 0.1], [0.2, 0.8]]), ["a", "b"])
    others = {"majority_share", "calibration_error", "without_label"}
    numbers = {name for name, value in measured.items() if isinstance(value, float)} - others
    for name in numbers:
        assert check_metric(name, multi_label=multi_label) == name
    for name in {*METRICS, "beauty"} - numbers:
        with pytest.raises(
            BadParameter, match=rf"{name}' of {'label sets' if multi_label else 'single labels'}; there"
        ):
            check_metric(name, multi_label=multi_label)


@pytest.mark.parametrize(
    ("head", "params"),
    [
        ("logreg", {"C": 0.1, "scale": True, "max_iter": 5}),
        ("svm", {"max_iter": -1}),
        ("mlp", {"dropout": 0}),
        ("sklearn.naive_bayes.GaussianNB", {"var_smoothing": 1e-9}),
    ],
)
def test_right_parameters_pass(head: str, params: dict[str, float | int | bool | str | None]) -> None:
    check_params(head, params)


@pytest.mark.parametrize(
    "params", [{"C": 0}, {"C": True}, {"C": "much"}, {"n_neighbors": 1.5}, {"C": None}, {"scale": 1}]
)
def test_wrong_values_are_refused(params: dict[str, float | int | bool | str | None]) -> None:
    with pytest.raises(BadParameter):
        check_params("knn" if "n_neighbors" in params else "svm", params)
