from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from jdq.worker.heads import features
from jdq.worker.heads.errors import DamagedHead
from jdq.worker.heads.predictors import LayersPredictor, apply_link, linear, link_of, predict_in_blocks

RNG = np.random.default_rng(0)


def layers(*widths: int, link: str = "softmax") -> LayersPredictor:
    pairs = pairwise(widths)
    return LayersPredictor(
        layers=tuple((floats(width, to), floats(to)) for width, to in pairs),
        link=link,
    )


def floats(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def test_scores_become_probabilities_as_scipy_computes_them() -> None:
    scores = 30 * floats(20, 4)
    for link, reference in (("softmax", lambda s: softmax(s, axis=1)), ("sigmoid", expit)):
        found = apply_link(scores, link)
        assert found.dtype == np.float32
        assert np.allclose(found, reference(scores.astype(np.float64)), atol=1e-6)
    extreme = np.array([[1e4, -1e4]], dtype=np.float32)
    assert apply_link(extreme, "softmax").tolist() == apply_link(extreme, "sigmoid").tolist() == [[1, 0]]
    assert (link_of(multi_label=False), link_of(multi_label=True)) == ("softmax", "sigmoid")


def test_layers_have_relu_between_them_and_not_at_the_end() -> None:
    predictor, X = layers(3, 5, 2), floats(7, 3)
    (W, b), (V, c) = predictor.layers
    scores = np.maximum(X @ W + b, 0) @ V + c
    assert np.allclose(predictor.scores(X), scores, atol=1e-5) and (scores < 0).any()
    assert np.allclose(predictor.predict_block(X), softmax(scores, axis=1), atol=1e-6)
    assert (predictor.dim, predictor.outputs, predictor.kind) == (3, 2, "layers")


def test_blocks_of_any_number_of_rows_are_predicted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, X = layers(3, 2), floats(10, 3).astype(np.float16)
    asked = []

    def predict_block(self: LayersPredictor, X: Any) -> Any:
        asked.append(X)
        return self.scores(X)

    monkeypatch.setattr(features, "BLOCK_ROWS", 4)
    monkeypatch.setattr(LayersPredictor, "predict_block", predict_block)
    found = predict_in_blocks(predictor, X)
    assert [len(block) for block in asked] == [4, 4, 2] and {block.dtype for block in asked} == {np.dtype(np.float32)}
    assert found.dtype == np.float32 and np.allclose(found, predictor.scores(X.astype(np.float32)))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_linear_model_of_scikit_learn_becomes_one_layer(classes: int, scaled: bool) -> None:
    X, y = floats(60, 4), np.arange(60) % classes
    mean, std = floats(4).astype(np.float64), np.array([0.5, 1, 2, 3])
    given: Any = (X - mean) / std if scaled else X
    model = LogisticRegression().fit(given, y)
    scaling = {"mean": mean, "std": std} if scaled else {}
    predictor = linear(model.coef_, model.intercept_, link="softmax", **scaling)
    assert np.allclose(predictor.predict_block(X), model.predict_proba(given), atol=1e-5)
    assert all(array.dtype == np.float32 for array in predictor.arrays().values()) and predictor.link == "softmax"


def test_one_row_of_coefficients_for_a_label_set_stays_one_column() -> None:
    predictor = linear(np.array([[1.0, 2.0]]), np.array([3.0]), link="sigmoid")
    assert predictor.outputs == 1 and predictor.scores(np.ones((1, 2), np.float32)).tolist() == [[6]]


def test_layers_come_back_from_their_arrays_and_settings() -> None:
    before = layers(4, 3, 2, link="sigmoid")
    assert list(before.arrays()) == ["weights.0", "bias.0", "weights.1", "bias.1"]
    assert before.settings() == {"link": "sigmoid", "layers": 2}
    after = LayersPredictor.from_arrays(before.arrays(), before.settings())
    assert after.link == "sigmoid" and (after.predict_block(np.eye(4, dtype=np.float32)) == before.predict_block(
        np.eye(4, dtype=np.float32)
    )).all()  # fmt: skip
    deepest = layers(*[1] * 65)
    assert len(LayersPredictor.from_arrays(deepest.arrays(), deepest.settings()).layers) == 64


W, B = np.ones((4, 3), np.float32), np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        ({}, {}, "a head of layers=None, link=None is not known"),
        ({}, {"layers": 1, "link": "relu"}, "a head of layers=1, link='relu' is not known"),
        ({}, {"layers": 0, "link": "softmax"}, "a head of layers=0, link='softmax' is not known"),
        ({}, {"layers": 65, "link": "softmax"}, "a head of layers=65, link='softmax' is not known"),
        ({}, {"layers": "1", "link": "softmax"}, "a head of layers='1', link='softmax' is not known"),
        (
            {f"other.{i}": B for i in range(9)},
            {"layers": 1, "link": "softmax"},
            "the head's arrays are not those of 1 layers: " + ", ".join(f"other.{i}" for i in range(8)),
        ),
        (
            {"weights.0": W, "bias.1": B},
            {"layers": 1, "link": "sigmoid"},
            "the head's arrays are not those of 1 layers: bias.1, weights.0",
        ),
    ],
)
def test_arrays_that_are_not_those_of_the_layers_are_refused(arrays: Any, settings: Any, message: str) -> None:
    with pytest.raises(DamagedHead) as caught:
        LayersPredictor.from_arrays(arrays, settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights.0": W.astype(np.float64)}, "the head's layers are not float32 matrices"),
        ({"bias.1": np.ones(2)}, "the head's layers are not float32 matrices"),
        ({"weights.1": np.ones((3, 2, 1), np.float32)}, "the head's layers are not float32 matrices"),
        ({"weights.1": W}, "the head's layers do not fit: (4, 3) after width 3, bias (2,)"),
        ({"bias.0": W}, "the head's layers do not fit: (4, 3) after width 4, bias (4, 3)"),
        ({"bias.0": B[:2]}, "the head's layers do not fit: (4, 3) after width 4, bias (2,)"),
        ({"bias.0": B * np.nan}, "the head's layers hold values that are not finite"),
        ({"weights.0": W * np.inf}, "the head's layers hold values that are not finite"),
    ],
)
def test_layers_that_do_not_make_a_chain_are_refused(changed: Any, message: str) -> None:
    arrays = {"weights.0": W, "bias.0": B, "weights.1": W[:3, :2], "bias.1": B[:2]}
    assert LayersPredictor.from_arrays(arrays, {"layers": 2, "link": "softmax"}).outputs == 2
    with pytest.raises(DamagedHead) as caught:
        LayersPredictor.from_arrays(arrays | changed, {"layers": 2, "link": "softmax"})
    assert str(caught.value) == message
