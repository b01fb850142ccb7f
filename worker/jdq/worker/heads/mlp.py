"""The head `mlp`: a small torch net, Adam on the cross-entropy, early stopping on the validation part."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.features import Features, Rows, float32_bytes, in_float32, mean_and_std
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.options import ParameterValue
from jdq.worker.heads.predictors import LayersPredictor, link_of

DEFAULTS: dict[str, ParameterValue] = {
    "hidden": 128,
    "layers": 1,
    "dropout": 0.2,
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "batch_size": 64,
    "max_epochs": 100,
    "patience": 10,
}
LOSS_BLOCK = 8192


def fit_mlp(context: FitContext) -> Fitted:
    """Raises BadParameter. The same seed and versions give the same net."""
    params = _checked(context.options.params)
    mean, std = mean_and_std(context.X, context.train)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(context.options.seed)
        net = _net(context.X.shape[1], len(context.targets.classes), params)
        training = _Training(
            net=net,
            loss=_loss(context),
            train=_batches_of(context, context.train, mean, std),
            # Without a validation part the training loss decides when to stop.
            validation=_batches_of(
                context, context.validation if len(context.validation) else context.train, mean, std
            ),
            params=params,
        )
        history = training.run(context)
    link = link_of(multi_label=context.targets.multi_label)
    warnings = _unfinished(history, params)
    return Fitted(predictor=_as_layers(net, mean, std, link), params=params, history=history, warnings=warnings)


def _unfinished(history: list[dict[str, float]], params: dict[str, Any]) -> tuple[str, ...]:
    """A warning if the last epoch came before the validation loss had stopped falling."""
    losses = [epoch["validation_loss"] for epoch in history]
    if len(history) < params["max_epochs"] or len(losses) - 1 - int(np.argmin(losses)) >= params["patience"]:
        return ()
    more = 2 * params["max_epochs"]
    return (f"stopped after {len(history)} epochs, before the loss stopped falling: --param max_epochs={more}",)


@contextmanager
def _one_thread() -> Iterator[None]:
    """For so small a net, threads cost more than they gain, especially on busy cores; one thread is deterministic."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _checked(given: dict[str, ParameterValue]) -> dict[str, Any]:
    unknown = set(given) - set(DEFAULTS)
    if unknown:
        raise BadParameter(f"mlp has no parameter {', '.join(sorted(unknown))}; it has: {', '.join(DEFAULTS)}")
    params = DEFAULTS | given
    for name, value in params.items():
        integer = isinstance(DEFAULTS[name], int)
        number = isinstance(value, int if integer else (int, float)) and not isinstance(value, bool)
        most = 1 if name == "dropout" else math.inf
        if not number or not (1 if integer else 0) <= float(value or 0) < most:
            wanted = "a whole number of at least 1" if integer else "a number of at least 0"
            raise BadParameter(f"mlp's {name} must be {wanted}{' and below 1' if most == 1 else ''}, not {value!r}")
    return params


def _net(dim: int, outputs: int, params: dict[str, Any]) -> nn.Sequential:
    modules: list[nn.Module] = []
    width = dim
    for _ in range(params["layers"]):
        modules += [nn.Linear(width, params["hidden"]), nn.ReLU(), nn.Dropout(params["dropout"])]
        width = params["hidden"]
    return nn.Sequential(*modules, nn.Linear(width, outputs))


def _loss(context: FitContext) -> nn.Module:
    if context.targets.multi_label:
        if context.options.class_weight is not None:
            raise BadParameter("the head mlp does not support class weights for multi-label targets")
        return nn.BCEWithLogitsLoss()
    if context.options.class_weight is None:
        return nn.CrossEntropyLoss()
    present = context.present()
    weights = torch.zeros(len(context.targets.classes))
    balanced = compute_class_weight(context.options.class_weight, classes=present, y=context.train_codes)
    weights[torch.from_numpy(present)] = torch.from_numpy(balanced).float()
    return nn.CrossEntropyLoss(weight=weights)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Features and targets of one part, standardized batch by batch to avoid a second copy."""

    X: torch.Tensor
    y: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, rows: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
        return (self.X[rows].float() - self.mean) / self.std, self.y[rows]


def _batches_of(context: FitContext, rows: Rows, mean: npt.NDArray[Any], std: npt.NDArray[Any]) -> _Rows:
    fits = float32_bytes(rows, context.X) <= context.options.memory_bytes
    X = in_float32(context.X, rows) if fits else _as_stored(context.X, rows)
    codes = context.targets.codes[rows]
    y = torch.from_numpy(codes.astype(np.float32) if context.targets.multi_label else codes.astype(np.int64))
    return _Rows(torch.from_numpy(X), y, torch.from_numpy(mean).float(), torch.from_numpy(std).float())


def _as_stored(X: Features, rows: Rows) -> npt.NDArray[Any]:
    return np.ascontiguousarray(X[rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Training:
    net: nn.Sequential
    loss: nn.Module
    train: _Rows
    validation: _Rows
    params: dict[str, Any]

    def run(self, context: FitContext) -> list[dict[str, float]]:
        """Trains until the validation loss has not fallen for `patience` epochs; leaves the best epoch's net."""
        optimizer = torch.optim.Adam(
            self.net.parameters(), lr=self.params["learning_rate"], weight_decay=self.params["weight_decay"]
        )
        history: list[dict[str, float]] = []
        best, best_loss, since = copy.deepcopy(self.net.state_dict()), float("inf"), 0
        for epoch in range(1, self.params["max_epochs"] + 1):
            context.check(epoch - 1, self.params["max_epochs"])
            train_loss, validation_loss = self._epoch(optimizer), self._validation_loss()
            history.append({"epoch": epoch, "train_loss": train_loss, "validation_loss": validation_loss})
            if validation_loss < best_loss:
                best, best_loss, since = copy.deepcopy(self.net.state_dict()), validation_loss, 0
            elif (since := since + 1) >= self.params["patience"]:
                break
        self.net.load_state_dict(best)
        return history

    def _epoch(self, optimizer: torch.optim.Optimizer) -> float:
        self.net.train()
        total = 0.0
        for rows in torch.split(torch.randperm(len(self.train)), self.params["batch_size"]):
            X, y = self.train.batch(rows)
            optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.net(X), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        return total / len(self.train)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        self.net.eval()
        total = 0.0
        for start in range(0, len(self.validation), LOSS_BLOCK):
            X, y = self.validation.batch(slice(start, start + LOSS_BLOCK))
            total += self.loss(self.net(X), y).item() * len(y)
        return total / len(self.validation)


def _as_layers(net: nn.Sequential, mean: npt.NDArray[Any], std: npt.NDArray[Any], link: str) -> LayersPredictor:
    """The net as numpy layers, with the standardization folded into the first."""
    linears = [module for module in net if isinstance(module, nn.Linear)]
    layers = [(m.weight.detach().double().numpy().T, m.bias.detach().double().numpy()) for m in linears]
    weights, bias = layers[0]
    weights = weights / std[:, None]
    layers[0] = (weights, bias - mean @ weights)
    as_float32 = tuple((np.ascontiguousarray(w, dtype=np.float32), b.astype(np.float32)) for w, b in layers)
    return LayersPredictor(layers=as_float32, link=link)
