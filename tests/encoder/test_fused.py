"""Which devices take the fused kernels: those where one of them has run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from jdq.worker.encoder.fused import fused_kernels

CHOOSE = fused_kernels.__wrapped__
Kernels = Callable[[Callable[[Tensor], Tensor]], ModuleType]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """Puts kernels whose GELU is this function in Triton's place, and a new GPU in the machine."""

    def put(gelu: Callable[[Tensor], Tensor]) -> ModuleType:
        module = ModuleType("triton_kernels")
        module.gelu = gelu  # type: ignore[attr-defined]
        module.CANNOT_RUN = (RuntimeError,)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "jdq.worker.encoder.triton_kernels", module)
        monkeypatch.setattr("jdq.worker.encoder.triton_kernels", module, raising=False)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(torch, "zeros", lambda *size, dtype, device: torch.empty(size, dtype=dtype))
        return module

    return put


def test_a_gpu_on_which_one_has_run_takes_them(kernels: Kernels) -> None:
    module = kernels(lambda x: x)
    assert CHOOSE("cuda:0") is module
    assert CHOOSE("cpu") is None


def test_an_older_gpu_does_not(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels(lambda x: x)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert CHOOSE("cuda:0") is None


def test_where_triton_does_not_run_the_reason_is_logged(kernels: Kernels, caplog: pytest.LogCaptureFixture) -> None:
    def fail(x: Tensor) -> Tensor:
        raise RuntimeError("Failed to find C compiler")

    kernels(fail)
    with caplog.at_level(logging.WARNING):
        assert CHOOSE("cuda:0") is None
    assert "Failed to find C compiler" in caplog.text


def test_a_pytorch_without_triton_has_none(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernels(lambda x: x)
    monkeypatch.delattr("jdq.worker.encoder.triton_kernels")
    monkeypatch.setitem(sys.modules, "jdq.worker.encoder.triton_kernels", None)
    with caplog.at_level(logging.WARNING):
        assert CHOOSE("cuda:0") is None
    assert "Triton does not run" in caplog.text
