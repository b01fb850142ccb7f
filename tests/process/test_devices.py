"""Which device a worker computes on: the one it is given, the GPU it has leased, else the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jdq.worker.config import Config, read_config
from jdq.worker.process.devices import Gpu, device_of, gpus, show_only


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "JDQ_LEASED_GPU", "PYTORCH_ALLOC_CONF"):
        monkeypatch.setenv(name, "set, so that it is restored")
        monkeypatch.delenv(name)


def config(tmp_path: Path, **settings: str) -> Config:
    return read_config({"JDQ_HOME": str(tmp_path), **settings})


def driver_tool(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that is this shell script, and the only program on the path beside the system's."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_the_gpus_are_those_that_the_drivers_tool_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "[ \"$1\" = --query-gpu=uuid,name ] && echo 'GPU-a, NVIDIA A, B' && echo 'GPU-b,NVIDIA C' && echo"
    driver_tool(tmp_path, script, monkeypatch)
    assert gpus() == [Gpu(uuid="GPU-a", name="NVIDIA A, B"), Gpu(uuid="GPU-b", name="NVIDIA C")]


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "true"])
def test_a_driver_that_fails_or_finds_nothing_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    driver_tool(tmp_path, script, monkeypatch)
    assert gpus() == []


def test_no_driver_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


def test_a_gpu_that_was_leased_is_the_only_one_that_children_see(tmp_path: Path) -> None:
    assert device_of(config(tmp_path), "gpu") == "cpu"
    show_only(Gpu(uuid="GPU-a", name="NVIDIA A"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert os.environ["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert device_of(config(tmp_path), "gpu") == "cuda"


def test_a_device_that_is_given_is_used_by_gpu_workers_only(tmp_path: Path) -> None:
    show_only(Gpu(uuid="GPU-a", name="NVIDIA A"))
    given = config(tmp_path, JDQ_DEVICE="cuda:1")
    assert device_of(given, "gpu") == "cuda:1"
    assert device_of(given, "cpu") == "cpu"
