from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from jdq.worker.heads import mlp
from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.features import mean_and_std
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.mlp import DEFAULTS, fit_mlp
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.split import TEST, TRAIN, VALIDATION
from jdq.worker.heads.train import make_fit_context


def context_of(made: Any, y: Any = None, parts: Any = None, check: Any = lambda *_: None, **options: Any) -> Any:
    split = made.split if parts is None else type(made.split)(
        parts=parts, seed=0, test=0.2, validation=0.1, distinct_texts=300, warnings=()
    )  # fmt: skip
    asked = HeadOptions(head="mlp", **options)
    targets = read_targets(made.y if y is None else y, label_separator=asked.label_separator)
    return make_fit_context(made.X, targets, split, asked, made.keys, check)


def by_hand(context: Any, params: dict[str, Any], *, loss: nn.Module, y: Any) -> tuple[list[dict[str, float]], Any]:
    """The same training written down: shuffled batches, Adam, the best epoch by the validation loss."""
    params = DEFAULTS | params
    mean, std = mean_and_std(context.X, context.train)
    X = torch.from_numpy((context.X.astype(np.float32) - mean.astype(np.float32)) / std.astype(np.float32))
    y = torch.from_numpy(y)
    validation = context.validation if len(context.validation) else context.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.options.seed)
        sizes = [X.shape[1], *[params["hidden"]] * params["layers"]]
        hidden: list[nn.Module] = []
        for width, to in zip(sizes, sizes[1:], strict=False):  # noqa: RUF007
            hidden += [nn.Linear(width, to), nn.ReLU(), nn.Dropout(params["dropout"])]
        net = nn.Sequential(*hidden, nn.Linear(sizes[-1], len(context.targets.classes)))
        adam = torch.optim.Adam(net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"])
        history, best, best_loss, since = [], None, float("inf"), 0
        for epoch in range(1, params["max_epochs"] + 1):
            net.train()
            losses = []
            for places in torch.split(torch.randperm(len(context.train)), params["batch_size"]):
                rows = context.train[places.numpy()]
                adam.zero_grad()
                batch = loss(net(X[rows]), y[rows])
                batch.backward()
                adam.step()
                losses.append(batch.item() * len(rows))
            net.eval()
            with torch.no_grad():
                validation_loss = loss(net(X[validation]), y[validation]).item()
            train_loss = sum(losses) / len(context.train)
            history.append({"epoch": epoch, "train_loss": train_loss, "validation_loss": validation_loss})
            since += 1
            if validation_loss < best_loss:
                best_loss, since = validation_loss, 0
                with torch.no_grad():
                    best = net(X)
            if since >= params["patience"]:
                break
    return history, best


@pytest.mark.parametrize(
    ("params", "seed"),
    [
        ({"max_epochs": 3}, 0),
        ({"max_epochs": 60, "learning_rate": 0.02, "patience": 2}, 1),
        ({"max_epochs": 4, "hidden": 9, "layers": 2, "dropout": 0.5, "weight_decay": 0.1, "batch_size": 50}, 2),
        ({"max_epochs": 2, "dropout": 0, "layers": 3, "hidden": 1}, 3),
    ],
)
@pytest.mark.parametrize("memory_bytes", [1 << 30, 1000])
def test_training_is_adam_on_shuffled_batches_with_early_stopping(
    made: Any, params: dict[str, Any], seed: int, memory_bytes: int
) -> None:
    context = context_of(made, params=params, seed=seed, memory_bytes=memory_bytes)
    history, best = by_hand(context, params, loss=nn.CrossEntropyLoss(), y=context.targets.codes)
    fitted = fit_mlp(context)
    assert [list(epoch) for epoch in fitted.history] == [["epoch", "train_loss", "validation_loss"]] * len(history)
    for found, expected in zip(fitted.history, history, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
    probabilities = fitted.predictor.predict_block(made.X.astype(np.float32))
    assert np.allclose(probabilities, torch.softmax(best, dim=1).numpy(), atol=2e-3)
    assert fitted.params == DEFAULTS | params and fitted.predictor.settings()["link"] == "softmax"


def test_label_sets_are_trained_as_independent_labels(made: Any) -> None:
    y = [f"{name}|x" if name == "class 1" else name for name in made.y]
    context = context_of(made, y, label_separator="|", params={"max_epochs": 2})
    history, best = by_hand(
        context, {"max_epochs": 2}, loss=nn.BCEWithLogitsLoss(), y=context.targets.codes.astype(np.float32)
    )
    fitted = fit_mlp(context)
    assert fitted.history[-1] == pytest.approx(history[-1], rel=1e-3)
    found = fitted.predictor.predict_block(made.X.astype(np.float32))
    assert np.allclose(found, torch.sigmoid(best).numpy(), atol=2e-3)


def test_balanced_classes_weigh_the_loss_and_absent_ones_nothing(made: Any) -> None:
    parts = np.where(made.y == "class 2", TEST, made.split.parts).astype(np.uint8)
    context = context_of(made, parts=parts, class_weight="balanced", params={"max_epochs": 2, "batch_size": 500})
    counts = context.targets.counts(context.train)
    weights = np.divide(counts.sum() / 3, counts, out=np.zeros(4), where=counts > 0)
    loss = nn.CrossEntropyLoss(weight=torch.from_numpy(weights).float())
    history, _ = by_hand(context, context.options.params, loss=loss, y=context.targets.codes)
    assert fit_mlp(context).history[-1] == pytest.approx(history[-1], rel=1e-3)


def test_without_a_validation_part_the_training_rows_decide(made: Any) -> None:
    parts = np.where(made.split.parts == VALIDATION, TEST, made.split.parts).astype(np.uint8)
    context = context_of(made, parts=parts, params={"max_epochs": 3})
    history, _ = by_hand(context, {"max_epochs": 3}, loss=nn.CrossEntropyLoss(), y=context.targets.codes)
    assert fit_mlp(context).history[-1] == pytest.approx(history[-1], rel=1e-3)


def test_the_validation_loss_does_not_depend_on_its_blocks(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(made, params={"max_epochs": 2})
    expected = fit_mlp(context).history
    monkeypatch.setattr(mlp, "LOSS_BLOCK", 7)
    for found, epoch in zip(fit_mlp(context).history, expected, strict=True):
        assert found == pytest.approx(epoch, rel=1e-5)


def test_each_epoch_is_checked_with_the_number_of_all(made: Any) -> None:
    called: list[tuple[int, int]] = []
    fit_mlp(context_of(made, params={"max_epochs": 3}, check=lambda *counts: called.append(counts)))
    assert called == [(0, 3), (1, 3), (2, 3)]


def test_training_runs_on_one_thread_and_leaves_threads_and_random_numbers_as_they_were(made: Any) -> None:
    threads: list[int] = []
    torch.set_num_threads(2)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    try:
        fit_mlp(context_of(made, params={"max_epochs": 1}, check=lambda *_: threads.append(torch.get_num_threads())))
        assert threads == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.rand(1) == expected


def test_more_features_than_the_memory_bound_stay_in_float16(made: Any) -> None:
    rows = int((made.split.parts == TRAIN).sum())
    mean, std = np.zeros(16), np.ones(16)
    for size, kind in ((rows * 16 * 4, torch.float32), (rows * 16 * 4 - 1, torch.float16)):
        context = context_of(made, memory_bytes=size)
        batches = mlp._batches_of(context, context.train, mean, std)
        assert batches.X.dtype == kind and batches.batch(slice(0, 2))[0].dtype == torch.float32


ALL = "hidden, layers, dropout, learning_rate, weight_decay, batch_size, max_epochs, patience"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"width": 3, "epochs": 3}, f"mlp has no parameter epochs, width; it has: {ALL}"),
        ({"hidden": 0}, "mlp's hidden must be a whole number of at least 1, not 0"),
        ({"layers": 1.0}, "mlp's layers must be a whole number of at least 1, not 1.0"),
        ({"patience": True}, "mlp's patience must be a whole number of at least 1, not True"),
        ({"batch_size": None}, "mlp's batch_size must be a whole number of at least 1, not None"),
        ({"learning_rate": float("nan")}, "mlp's learning_rate must be a number of at least 0, not nan"),
        ({"dropout": 1}, "mlp's dropout must be a number of at least 0 and below 1, not 1"),
        ({"learning_rate": -0.1}, "mlp's learning_rate must be a number of at least 0, not -0.1"),
        ({"weight_decay": "no"}, "mlp's weight_decay must be a number of at least 0, not 'no'"),
        ({"learning_rate": False}, "mlp's learning_rate must be a number of at least 0, not False"),
    ],
)
def test_parameters_are_checked_before_the_training(made: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter) as caught:
        fit_mlp(context_of(made, params=params))
    assert str(caught.value) == message


def test_the_ends_of_each_range_are_taken(made: Any) -> None:
    least = {"hidden": 1, "layers": 1, "dropout": 0, "learning_rate": 0, "weight_decay": 0, "max_epochs": 1}
    assert len(fit_mlp(context_of(made, params=least | {"batch_size": 1, "patience": 1})).history) == 1
    assert (
        fit_mlp(context_of(made, params={"learning_rate": 1, "dropout": 0.99, "max_epochs": 1})).params["dropout"]
        == 0.99
    )


def test_weighted_label_sets_are_refused(made: Any) -> None:
    with pytest.raises(BadParameter) as caught:
        fit_mlp(context_of(made, ["a|b", "a", "b"] * 100, label_separator="|", class_weight="balanced"))
    assert str(caught.value) == "the head mlp does not support class weights for multi-label targets"


def test_a_net_whose_loss_still_falls_in_the_last_epoch_says_so(made: Any) -> None:
    short = fit_mlp(context_of(made, params={"max_epochs": 3}))
    assert short.warnings == ("stopped after 3 epochs, before the loss stopped falling: --param max_epochs=6",)
    stopped = fit_mlp(context_of(made, params={"max_epochs": 60, "learning_rate": 0.02, "patience": 2}))
    assert len(stopped.history) < 60 and stopped.warnings == ()
    params = {"max_epochs": len(stopped.history), "learning_rate": 0.02, "patience": 2}
    assert fit_mlp(context_of(made, params=params)).warnings == ()
