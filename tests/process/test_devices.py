"""Which device a worker computes on: the one it is given, the GPU it has leased, else the CPU."""

import os
from pathlib import Path

import pytest

from jdq.worker.config import Config, read_config
from jdq.worker.process.devices import Gpu, device_of, show_only


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "JDQ_LEASED_GPU", "PYTORCH_ALLOC_CONF"):
        monkeypatch.setenv(name, "set, so that it is restored")
        monkeypatch.delenv(name)


def config(tmp_path: Path, **settings: str) -> Config:
    return read_config({"JDQ_HOME": str(tmp_path), **settings})


GPU = Gpu(uuid="GPU-a", name="NVIDIA A", index=0, card="GPU-a")


def test_a_gpu_that_was_leased_is_the_only_one_that_children_see(tmp_path: Path) -> None:
    assert device_of(config(tmp_path), "gpu") == "cpu"
    show_only(GPU)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert os.environ["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert device_of(config(tmp_path), "gpu") == "cuda"


def test_a_device_that_is_given_is_used_by_gpu_workers_only(tmp_path: Path) -> None:
    given = config(tmp_path, JDQ_DEVICE="cuda:1")
    assert device_of(given, "gpu") == "cuda:1"
    assert device_of(given, "cpu") == "cpu"
    show_only(GPU)
    assert device_of(given, "gpu") == "cuda"  # the process sees no other
    assert device_of(given, "cpu") == "cpu"
