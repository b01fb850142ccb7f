"""`jdq doctor`: each thing that is wrong is said with what to do, and the exit code says whether something fails."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jdq.cli.doctor import GIB, devices, disk, local_server, packages
from jdq.cli.jobs import machine
from jdq.cli.jobs.machine import Machine, gpus
from jdq.worker.process import nvml
from jdq.worker.process.devices import Gpu
from tests.cli.conftest import CommandLine
from tests.cli.screens import WORKERS
from tests.fake_nvml import pynvml as fake
from tests.fake_nvml.host import card, mig_card, write_host

GPU = Gpu(uuid="GPU-a", name="NVIDIA A", index=3, card="GPU-a")


def levels(jdq: CommandLine, *, code: int = 0) -> dict[str, str]:
    import json

    found = jdq.run_to_any_end("doctor", "--json")
    assert found.exit_code == code, found.output
    return {finding["about"]: finding["level"] for finding in json.loads(found.stdout)}


def test_a_sound_installation_has_no_fault(jdq: CommandLine) -> None:
    jdq.extracted()
    found = levels(jdq)
    assert found["jdq"] == found["store"] == found["packages"] == found["devices"] == found["precision auto"] == "ok"
    assert (found["gpu queue"], found["cpu queue"]) == ("warning", "warning")
    text = jdq.run("doctor").stdout
    assert "1 dataset, 1 feature space" in text
    assert "no worker serves it\n           try: jdq up" in text
    assert "bfloat16" in text or "float32" in text


def test_no_redis_is_a_fault_where_it_is_elsewhere_and_a_hint_where_jdq_up_starts_it(
    jdq: CommandLine, tmp_path: Path
) -> None:
    elsewhere = CommandLine(jdq.workplace, {"JDQ_BROKER_URL": "redis://localhost:1/0"})
    assert levels(elsewhere, code=1)["Redis"] == "fault"
    here = CommandLine(jdq.workplace, {"JDQ_BROKER_URL": "", "JDQ_HOME": str(tmp_path / "other")})
    assert levels(here)["Redis"] == "warning"
    assert str(tmp_path / "other") in here.run("doctor").stdout


def test_a_wrong_setting_is_a_fault(jdq: CommandLine) -> None:
    assert levels(CommandLine(jdq.workplace, {"JDQ_LEASE_S": "soon"}), code=1) == {
        "jdq": "ok",
        "configuration": "fault",
    }


def test_a_damaged_dataset_is_a_fault(jdq: CommandLine) -> None:
    jdq.extracted()
    [record] = (jdq.workplace.store.root / "datasets").rglob("dataset.json")
    record.write_text("{")
    assert levels(jdq, code=1)["store"] == "fault"


def test_a_sick_worker_is_a_fault(jdq: CommandLine) -> None:
    ledger = jdq.workplace.runtime("gpu").ledger
    ledger.heartbeat({"pid": 1, "host": "host", "queue": "gpu", "device": "cpu", "started": 0})
    assert levels(jdq)["gpu queue"] == "ok"
    ledger.quarantine("it computes nonsense")
    assert levels(jdq, code=1)["worker-gpu"] == "fault"


def test_missing_packages_are_named() -> None:
    [finding] = packages(lambda name: None if name == "torch" else "1.0")
    assert (finding.level, finding.todo) == ("warning", "pip install 'jdq[worker]'")
    assert "no torch: " in finding.text


def test_without_a_server_there_is_no_local_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    [finding] = local_server(True, lambda name: None)
    assert finding.level == "fault"
    assert list(local_server(True, lambda name: "1.0")) == []
    assert list(local_server(False, lambda name: None)) == []


@pytest.mark.parametrize(("torch", "level"), [("2.11.0+cpu", "fault"), ("2.11.0", "ok"), (None, "ok")])
def test_a_gpu_needs_a_pytorch_for_it(torch: str | None, level: str) -> None:
    [finding] = devices(lambda: [(GPU, "5 % GPU")], torch)
    assert finding.level == level
    assert "GPU 3 NVIDIA A: 5 % GPU" in finding.text


def test_a_driver_that_does_not_answer_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "pynvml", fake)
    monkeypatch.setenv("FAKE_NVML", str(write_host(tmp_path / "nvml.json", error="DriverNotLoaded")))
    [finding] = devices(gpus, "2.11.0")
    assert (finding.level, finding.text) == ("fault", "NVIDIA's driver does not answer: DriverNotLoaded")
    assert Machine("node").use([replace(WORKERS[0], pid=os.getpid())])["gpu-0@node"].endswith("iB")


def test_the_use_of_gpus_and_slices_is_that_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "pynvml", fake)
    cards = [card("a", percent=7, free_gib=60), mig_card("b", 1), card("c", percent=99, free_gib=20)]
    monkeypatch.setenv("FAKE_NVML", str(write_host(tmp_path / "nvml.json", cards)))
    texts = {gpu.uuid: text for gpu, text in gpus()}
    assert texts == {
        "GPU-aaaaaaaa-0000": "7 % GPU, 20.0 GiB of 80.0 GiB",
        "MIG-bbbbbbbb-0": "0 B of 80.0 GiB",
        "GPU-cccccccc-0000": "99 % GPU, 60.0 GiB of 80.0 GiB",
    }
    leased = replace(WORKERS[0], pid=os.getpid(), device="cuda NVIDIA H100 GPU-cccccccc-0000")
    assert Machine("node").use([leased])["gpu-0@node"].endswith("iB, 99 % GPU, 60.0 GiB of 80.0 GiB")
    monkeypatch.setattr(machine, "missing_packages", lambda names: names)
    assert gpus() == []


@pytest.mark.parametrize(("free", "level"), [(GIB - 1, "fault"), (GIB, "warning"), (10 * GIB, "ok")])
def test_little_room_is_said(tmp_path: Path, free: int, level: str) -> None:
    asked: list[Path] = []

    def free_bytes(path: Path) -> int:
        asked.append(path)
        return free

    [finding] = disk(tmp_path / "not" / "yet", free_bytes)
    assert (finding.level, asked) == (level, [tmp_path])
    assert bool(finding.todo) == (level != "ok")
