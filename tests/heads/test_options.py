from __future__ import annotations

from typing import Any

import pytest

from jdq.worker.heads.errors import BadParameter, UnknownHead
from jdq.worker.heads.options import HEADS, check_head, parse_params


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1e-3", 0.001),
        ("20", 20),
        ("-1", -1),
        ("true", True),
        ("false", False),
        ("False", False),
        ("None", None),
        ("NULL", None),
        ("scale", "scale"),
        (" 'quoted' ", "quoted"),
        ("(1, 2)", "(1, 2)"),
        ("[1", "[1"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_parameter_is_read_as_the_value_that_it_looks_like(text: str, value: Any) -> None:
    found = parse_params([f" name ={text}"])
    assert found == {"name": value} and type(found["name"]) is type(value)


@pytest.mark.parametrize("item", ["C", "=1", "a b=1", "1C=2", ""])
def test_what_has_no_name_is_not_a_parameter(item: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse_params(["max_iter=3", item])
    assert str(caught.value) == f"{item!r} is not of the form NAME=VALUE\n  try: --param C=0.1"


def test_heads_are_checked_by_name_and_classifiers_by_the_list_of_allowed_ones() -> None:
    assert [check_head(name) for name in HEADS] == list(HEADS)
    assert check_head("some.Classifier", ["some.Classifier"]) == "some.Classifier"
    with pytest.raises(UnknownHead) as caught:
        check_head("some.Classifier", ["other.Classifier"])
    assert str(caught.value) == (
        "the classifier some.Classifier is not allowed on these workers\n"
        "  try: ask the administrator to name it in the worker's list of allowed classifiers"
    )
    with pytest.raises(UnknownHead) as caught:
        check_head("logrec")
    assert str(caught.value) == (
        "no head 'logrec'; there are: logreg, linear-svm, svm, mlp, knn, hist-gbm, random-forest, dummy"
    )
