import json
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jdq.worker.heads.errors import BadParameter, BadSplit, UnknownHead, WrongFeatures
from jdq.worker.heads.features import FeaturesAndTexts, with_texts
from jdq.worker.heads.options import HEADS, HeadOptions, check_head, parse_params
from jdq.worker.heads.record import Origin
from jdq.worker.heads.split import TEST, TRAIN
from jdq.worker.heads.train import train_head


def read(made: Any) -> FeaturesAndTexts:
    """With texts, which only some heads read."""
    return with_texts(made.X, [f"{label} text {row % 7}" if row % 6 else "text" for row, label in enumerate(made.y)])


@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_what_can_be_learnt(made: Any, head: str) -> None:
    params: dict[str, Any] = {"random-forest": {"n_estimators": 50}, "hist-gbm": {"max_iter": 30}}.get(head, {})
    trained = train_head(read(made), made.y, made.split, HeadOptions(head=head, params=params))
    accuracy = trained.record.metrics["accuracy"]
    assert accuracy < 0.5 if head == "dummy" else accuracy > 0.7
    probabilities = trained.predict_proba(read(made))
    assert probabilities.shape == (300, 4) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    test = made.split.rows(TEST)
    assert accuracy == np.mean(np.array(trained.predict(read(made)))[test] == made.y[test])


@pytest.mark.parametrize("head", [name for name in HEADS if name not in ("hist-gbm", "random-forest")])
def test_the_same_seed_gives_the_same_head(made: Any, head: str) -> None:
    first, second = (train_head(read(made), made.y, made.split, HeadOptions(head=head, seed=7)) for _ in range(2))
    assert np.abs(first.predict_proba(read(made)) - second.predict_proba(read(made))).max() <= 1e-6


def test_another_seed_gives_another_mlp(made: Any) -> None:
    first, second = (
        train_head(made.X, made.y, made.split, HeadOptions(head="mlp", seed=seed, params={"max_epochs": 3}))
        for seed in (1, 2)
    )
    assert np.abs(first.predict_proba(made.X) - second.predict_proba(made.X)).max() > 1e-3


@pytest.mark.parametrize("kind", ["made", "binary"])
def test_logreg_is_scikit_learns(kind: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(kind)
    train = data.split.rows(TRAIN)
    X = data.X.astype(np.float32)
    reference = LogisticRegression(max_iter=1000).fit(X[train], data.y[train].astype(str))
    trained = train_head(data.X, data.y, data.split)
    assert trained.classes == tuple(reference.classes_)
    assert np.abs(trained.predict_proba(data.X) - reference.predict_proba(X)).max() < 1e-5


def test_the_mlp_predicts_with_numpy_what_torch_trained(made: Any) -> None:
    """The layers, with the standardization folded into the first, against the net itself."""
    import torch

    from jdq.worker.heads import mlp
    from jdq.worker.heads.features import mean_and_std

    torch.manual_seed(0)
    net = mlp._net(16, 4, mlp.DEFAULTS | {"layers": 2}).eval()
    mean, std = mean_and_std(made.X, made.split.rows(TRAIN))
    X = made.X.astype(np.float32)
    standard = torch.from_numpy(((X - mean) / std).astype(np.float32))
    expected = torch.softmax(net(standard), dim=1).detach().numpy()
    assert np.abs(mlp._as_layers(net, mean, std, "softmax").predict_block(X) - expected).max() < 1e-5


def test_the_mlp_stops_early_and_keeps_the_best_epoch(made: Any) -> None:
    params: dict[str, Any] = {"patience": 3, "learning_rate": 0.01}
    trained = train_head(made.X, made.y, made.split, HeadOptions(head="mlp", params=params))
    losses = [epoch["validation_loss"] for epoch in trained.record.history]
    assert len(losses) < 100 and int(np.argmin(losses)) == len(losses) - 4
    found = trained.record.validation_metrics
    assert found is not None and found["log_loss"] == pytest.approx(min(losses), abs=1e-4)


def test_the_record_says_what_made_the_head(made: Any) -> None:
    origin = Origin(space="ab" * 16, encoder="tiny", dataset="demo", dataset_version="1234", label_column="label")
    record = train_head(made.X, made.y, made.split, HeadOptions(seed=5, params={"C": 0.5}), origin=origin).record
    assert record.origin == origin and record.seed == 5 and record.params["C"] == 0.5
    assert record.split_digest == made.split.digest and record.rows == made.split.counts()
    assert {"python", "numpy", "scikit-learn", "torch", "jdq"} <= set(record.versions)
    assert record.wall_time_s > 0 and record.device == "cpu" and record.dim == 16
    json.dumps(msgspec.to_builtins(record), allow_nan=False)


def test_features_may_be_read_when_they_are_asked_for(made: Any) -> None:
    class Lazy:
        shape = made.X.shape

        def __getitem__(self, rows: Any, /) -> Any:
            return made.X[rows]

    first, second = (train_head(X, made.y, made.split).predict_proba(made.X) for X in (made.X, Lazy()))
    assert (first == second).all()


def test_a_check_that_raises_stops_the_training(made: Any) -> None:
    class Cancelled(Exception):
        pass

    def check(done: int, _total: int) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        train_head(made.X, made.y, made.split, HeadOptions(head="mlp"), check=check)


def test_a_class_without_a_row_in_train_is_never_predicted(made: Any) -> None:
    """Such a split is stored only where a dataset's repeats have different labels."""
    split = replace(made.split, parts=np.where(made.y == "class 3", TEST, made.split.parts).astype(np.uint8))
    for head in ("logreg", "mlp", "knn", "linear-svm"):
        trained = train_head(made.X, made.y, split, HeadOptions(head=head))
        assert trained.predict_proba(made.X)[:, 3].max() < 0.2
        assert trained.record.metrics["per_class"][3]["recall"] == 0


def test_what_does_not_fit_is_refused(made: Any) -> None:
    with pytest.raises(BadSplit, match="299 rows of features, 300 labels"):
        train_head(made.X[:299], made.y, made.split)
    with pytest.raises(WrongFeatures, match="width 16"):
        train_head(made.X, made.y, made.split).predict_proba(made.X[:, :8])


@pytest.mark.parametrize(
    ("head", "params", "message"),
    [
        ("logreg", {"D": 1}, "unexpected keyword argument 'D'"),
        ("logreg", {"C": "high"}, "'C' parameter"),
        ("mlp", {"epochs": 3}, "mlp has no parameter epochs; it has: hidden"),
        ("mlp", {"hidden": 0.5}, "hidden must be a whole number"),
        ("svm", {"gamm": 1}, "svm has no parameter gamm; it has: C"),
        ("knn", {"n_neighbors": -1}, "'n_neighbors' parameter"),
    ],
)
def test_wrong_parameters_are_refused_by_name(made: Any, head: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        train_head(made.X, made.y, made.split, HeadOptions(head=head, params=params))


def test_parameters_are_read_as_values() -> None:
    assert parse_params(["C=0.1", "max_iter=20", "break_ties=true", "gamma=scale", "max_depth=none", "p=1e-3"]) == {
        "C": 0.1,
        "max_iter": 20,
        "break_ties": True,
        "gamma": "scale",
        "max_depth": None,
        "p": 0.001,
    }
    with pytest.raises(BadParameter, match="'C' is not of the form NAME=VALUE"):
        parse_params(["C"])


def test_unknown_heads_and_classifiers_that_are_not_allowed_are_refused(made: Any) -> None:
    with pytest.raises(UnknownHead, match="no head 'logrec'; there are: auto, linear, tf-idf, hybrid, logreg"):
        check_head("logrec")
    name = "sklearn.linear_model.RidgeClassifier"
    with pytest.raises(UnknownHead, match="not allowed"):
        train_head(made.X, made.y, made.split, HeadOptions(head=name))
    trained = train_head(made.X, made.y, made.split, HeadOptions(head=name), allowed=[name])
    assert trained.record.metrics["accuracy"] > 0.7


def test_a_dotted_name_of_something_else_is_refused(made: Any) -> None:
    for name in ("os.system", "sklearn.linear_model.Ridge", "nowhere.Classifier"):
        with pytest.raises(UnknownHead):
            train_head(made.X, made.y, made.split, HeadOptions(head=name), allowed=[name])


def test_nearest_neighbours_of_few_rows_take_what_there_is() -> None:
    from jdq.worker.heads.fitted import row_keys
    from jdq.worker.heads.split import make_split

    X, y = np.eye(8, dtype=np.float32), ["a", "b"] * 4
    record = train_head(X, y, make_split(y, row_keys(8)), HeadOptions(head="knn")).record
    assert record.params["n_neighbors"] == record.trained_rows


def test_what_an_estimator_warns_of_is_in_the_record(made: Any) -> None:
    record = train_head(made.X, made.y, made.split, HeadOptions(head="linear-svm", params={"max_iter": 1})).record
    assert any("failed to converge" in warning for warning in record.warnings)
