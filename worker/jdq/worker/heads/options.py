"""The options of a head, without any machine-learning package: the client checks its arguments here."""

import ast
from collections.abc import Iterable
from typing import Any

import msgspec

from jdq.worker.heads.errors import BadParameter, UnknownHead

HEADS = {
    "logreg": "logistic regression (L2); out of core beyond the memory bound",
    "linear-svm": "linear support vector machine, standardised features",
    "svm": "support vector machine with an RBF kernel, standardised features",
    "mlp": "a small neural net: Adam on the cross-entropy, early stopping on the validation part",
    "knn": "nearest neighbours by cosine distance",
    "hist-gbm": "gradient boosted trees on binned features",
    "random-forest": "a forest of randomised trees",
    "dummy": "always the most frequent class: the baseline for any other head",
}

LABEL_SEPARATOR = "|"  # between the labels of a row
BEST_BY = "macro_f1"  # the metric that a search and a fine-tune choose by
GIB = 1 << 30

ParameterValue = float | int | bool | str | None


class HeadOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One head as the user requested it.

    class_weight: "balanced" or None. cv: folds of a stratified cross-validation over the train part, or None.
    per_class: train on that many distinct texts of each class (few-shot). label_separator: between the labels
    of a row, for multi-label targets.
    memory_bytes: bound of a float32 copy of the train part; beyond it logreg trains out of core.
    """

    head: str = "logreg"
    params: dict[str, ParameterValue] = {}
    seed: int = 0
    class_weight: str | None = None
    calibrate: bool = False
    cv: int | None = None
    per_class: int | None = None
    label_separator: str | None = msgspec.field(default=None, name="separator")
    memory_bytes: int = GIB


def check_head(name: str, allowed: Iterable[str] = ()) -> str:
    """The name, if there is such a head; dotted names of classifiers must be in `allowed`. Raises UnknownHead."""
    if name in HEADS or name in set(allowed):
        return name
    if "." in name:
        raise UnknownHead(
            f"the classifier {name} is not allowed on these workers\n"
            "  try: ask the administrator to name it in the worker's list of allowed classifiers"
        )
    raise UnknownHead(f"no head {name!r}; there are: {', '.join(HEADS)}")


def labels_in(cell: str, label_separator: str) -> set[str]:
    """The labels of a row that has a set of them, without the white space around each; an empty cell has none."""
    return {label.strip() for label in cell.split(label_separator)} - {""}


def parse_params(items: Iterable[str]) -> dict[str, ParameterValue]:
    """`["C=0.1", "penalty=l2", "early_stopping=true"]` as values: numbers, true/false, none, or text."""
    return dict(map(_parse_param, items))


def _parse_param(item: str) -> tuple[str, ParameterValue]:
    name, equals, text = item.partition("=")
    if not equals or not name.strip().isidentifier():
        raise BadParameter(f"{item!r} is not of the form NAME=VALUE\n  try: --param C=0.1")
    return name.strip(), _value(text.strip())


def _value(text: str) -> ParameterValue:
    words: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]  # type: ignore[no-any-return]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (int, float, str)) else text
