"""The options of a head, without any machine-learning package: the client checks its arguments here."""

import ast
from collections.abc import Iterable
from typing import Any

import msgspec

from jdq.worker.heads.errors import BadParameter, UnknownHead

TFIDF, LINEAR, HYBRID = "tf-idf", "linear", "hybrid"  # what `auto` chooses from

HEADS = {
    "auto": "tf-idf, linear or hybrid: the best in cross-validation",
    LINEAR: "logistic regression (L2) on scaled features with the best C of a path",
    TFIDF: "a linear support vector machine on the TF-IDF of the texts: words, pairs of words and characters",
    HYBRID: "the weighted sum of linear and tf-idf",
    "logreg": "logistic regression (L2); out of core beyond the memory bound",
    "linear-svm": "linear support vector machine, standardized features",
    "svm": "support vector machine with an RBF kernel, standardized features",
    "mlp": "a small neural net: Adam on the cross-entropy, early stopping on the validation part",
    "knn": "nearest neighbours by cosine distance",
    "hist-gbm": "gradient boosted trees on binned features",
    "random-forest": "a forest of randomized trees",
    "dummy": "always the most frequent class: the baseline for any other head",
}

# Of the estimators, and `scale`; a test compares them with the installed scikit-learn.
_PARAMETERS = {
    **dict.fromkeys(("auto", LINEAR, HYBRID), "C scaling max_iter"),
    TFIDF: "",
    "logreg": "C dual fit_intercept intercept_scaling l1_ratio max_iter n_jobs penalty solver tol verbose warm_start",
    "linear-svm": "C class_weight dual fit_intercept intercept_scaling loss max_iter multi_class penalty random_state"
    " tol verbose",
    "svm": "C break_ties cache_size class_weight coef0 decision_function_shape degree gamma kernel max_iter probability"
    " random_state shrinking tol verbose",
    "mlp": "hidden layers dropout learning_rate weight_decay batch_size max_epochs patience",
    "knn": "algorithm leaf_size metric metric_params n_jobs n_neighbors p weights",
    "hist-gbm": "categorical_features class_weight early_stopping interaction_cst l2_regularization learning_rate loss"
    " max_bins max_depth max_features max_iter max_leaf_nodes min_samples_leaf monotonic_cst n_iter_no_change"
    " random_state scoring tol validation_fraction verbose warm_start",
    "random-forest": "bootstrap ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes max_samples"
    " min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst n_estimators"
    " n_jobs oob_score random_state verbose warm_start",
    "dummy": "constant random_state strategy",
}
CHOOSING = ("auto", LINEAR, TFIDF, HYBRID)  # they cross-validate, so they learn from the validation rows, too
_OWN_SCALE = (*CHOOSING, "mlp")
PARAMETERS = {head: names.split() + ["scale"] * (head not in _OWN_SCALE) for head, names in _PARAMETERS.items()}
# Types that every head requires of these parameters; the estimators check the others.
_WHOLE_NUMBERS = ("n_neighbors", "n_estimators", "hidden", "layers", "batch_size", "max_epochs", "patience")
_NUMBERS = ("C", "tol", "learning_rate")

# What a search may optimize, of single labels and of label sets.
METRICS = (
    *("accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1"),
    *("roc_auc", "log_loss", "hamming_loss", "micro_precision", "micro_recall", "micro_f1"),
)

DEFAULT_HEAD = "auto"
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
            "  try: ask the administrator to add it to JDQ_CLASSIFIERS"
        )
    raise UnknownHead(f"no head {name!r}; there are: {', '.join(HEADS)}")


def check_params(head: str, params: dict[str, ParameterValue]) -> None:
    """Raises BadParameter for a parameter that the head does not have, or a value that cannot be right.

    The parameters of a classifier by its dotted name are known only to the workers.
    """
    for name, value in params.items():
        if head in PARAMETERS and name not in PARAMETERS[head]:
            raise BadParameter(f"{head} has no parameter {name}; it has: {', '.join(PARAMETERS[head])}")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in _WHOLE_NUMBERS and not (is_number and isinstance(value, int) and value >= 1):
            raise BadParameter(f"{head}'s {name} must be a whole number of at least 1, not {value!r}")
        if name in _NUMBERS and not (is_number and float(value or 0) > 0):
            raise BadParameter(f"{head}'s {name} must be a number above 0, not {value!r}")
        if name == "scale" and not isinstance(value, bool):
            raise BadParameter(f"{head}'s scale must be true or false, not {value!r}")


def check_metric(name: str, *, multi_label: bool = False) -> str:
    """The name, if a search over single labels, or over label sets, can optimize it. Raises BadParameter."""
    others = ("balanced_accuracy",) if multi_label else ("hamming_loss", *(m for m in METRICS if m[:6] == "micro_"))
    if name not in METRICS or name in others:
        of = "label sets" if multi_label else "single labels"
        known = ", ".join(metric for metric in METRICS if metric not in others)
        raise BadParameter(f"no metric {name!r} of {of}; there are: {known}")
    return name


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
