"""A device that cannot compute, or computes a single wrong number, is distinguished from one that works."""

import pytest
import torch
from torch import Tensor

from jdq.worker.encoder.self_test import SIZE, DeviceFault, check_device


def test_a_device_that_computes_passes() -> None:
    check_device("cpu")


@pytest.mark.parametrize("error", [RuntimeError("device-side assert\nmore"), AssertionError("device-side assert")])
def test_a_device_that_cannot_compute_is_named_with_the_reason(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(left: Tensor, right: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(Tensor, "__matmul__", fails)
    with pytest.raises(DeviceFault, match=r"^cpu does not compute: device-side assert$"):
        check_device("cpu")


def test_an_error_without_words_is_named_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(left: Tensor, right: Tensor) -> Tensor:
        raise RuntimeError

    monkeypatch.setattr(Tensor, "__matmul__", fails)
    with pytest.raises(DeviceFault, match=r"^cpu does not compute: RuntimeError$"):
        check_device("cpu")


def test_one_wrong_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def nearly(left: Tensor, right: Tensor) -> Tensor:
        product = torch.matmul(left, right)
        product[7, 9] += 1
        return product

    monkeypatch.setattr(Tensor, "__matmul__", nearly)
    with pytest.raises(DeviceFault, match=rf"^1 of {SIZE * SIZE} numbers of a matrix product on cpu are wrong$"):
        check_device("cpu")


def test_the_product_is_large_and_not_of_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for small or empty products are others."""
    seen: list[Tensor] = []

    def watched(left: Tensor, right: Tensor) -> Tensor:
        seen.extend((left, right))
        return torch.matmul(left, right)

    monkeypatch.setattr(Tensor, "__matmul__", watched)
    check_device("cpu")
    for side in seen:
        assert side.shape == (SIZE, SIZE)
        assert side.dtype == torch.float32
        assert len(set(side.flatten().tolist())) > 10
        assert side.abs().max() * SIZE * side.abs().max() < 2**24  # sums of such products are exact
