"""Which GPUs a worker may lease: JDQ_GPUS, CUDA_VISIBLE_DEVICES, MIG slices, other processes; with a fake NVML."""

import inspect
import os
from pathlib import Path

import pynvml as real
import pytest

from jdq.worker.config import ConfigError, read_config
from jdq.worker.process import gpu_choice, nvml
from jdq.worker.process.devices import Gpu
from jdq.worker.process.gpu_choice import MemoryLeft, reported_use, usable_gpus
from jdq.worker.process.readiness import NotReady
from jdq.worker.queue.records import GpuUse
from tests.fake_nvml import pynvml as fake
from tests.fake_nvml.host import card, mig_card, write_host

FOUR = [card(letter) for letter in "abcd"]
MIXED = [card("a", slices=None), mig_card("b", 7)]
DIFFERENT = [card("a"), card("b", name="NVIDIA T4")]
ALIKE = [card("a"), card("a") | {"uuid": "GPU-aaaaaaaa-0001"}]
A, B, C, D = (f"GPU-{letter * 8}-0000" for letter in "abcd")
SLICES = [f"MIG-bbbbbbbb-{n}" for n in range(7)]


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "pynvml", fake)
    monkeypatch.setattr(gpu_choice, "check_gpu_build", lambda: None)
    monkeypatch.setattr(gpu_choice, "is_rocm_build", lambda: False)
    monkeypatch.delenv("FAKE_NVML", raising=False)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a host with four GPUs."""
    file = write_host(tmp_path / "nvml.json", FOUR)
    monkeypatch.setenv("FAKE_NVML", str(file))
    return file


def usable(tmp_path: Path, **environment: str) -> list[str]:
    config = read_config({"JDQ_HOME": str(tmp_path), **environment})
    return [gpu.uuid for gpu in usable_gpus(config, environment)]


def test_the_fake_has_the_functions_and_errors_of_the_real_library() -> None:
    for name, function in inspect.getmembers(fake, inspect.isfunction):
        if name.startswith("nvml"):
            assert list(inspect.signature(function).parameters) == list(
                inspect.signature(getattr(real, name)).parameters
            )
    for name, error in inspect.getmembers(fake, inspect.isclass):
        if issubclass(error, fake.NVMLError):
            assert issubclass(getattr(real, name), real.NVMLError)
    assert real.NVML_DEVICE_MIG_ENABLE == fake.NVML_DEVICE_MIG_ENABLE


@pytest.mark.parametrize(
    ("gpus", "environment", "expected"),
    [
        (FOUR, {}, [A, B, C, D]),
        (FOUR, {"JDQ_GPUS": "2,0"}, [C, A]),
        (FOUR, {"JDQ_GPUS": f"{D},1"}, [D, B]),
        (FOUR, {"JDQ_GPUS": "GPU-c,2"}, [C]),
        (FOUR, {"CUDA_VISIBLE_DEVICES": "3,1"}, [D, B]),
        (FOUR, {"CUDA_VISIBLE_DEVICES": f"{B}, 3"}, [B, D]),
        (FOUR, {"JDQ_GPUS": "0,1", "CUDA_VISIBLE_DEVICES": "3,1"}, [B]),
        (FOUR, {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, [B]),
        (FOUR, {"JDQ_DEVICE": "cuda:1"}, [B]),
        (FOUR, {"JDQ_DEVICE": "cuda:1", "CUDA_VISIBLE_DEVICES": "3,2"}, [C]),
        (FOUR, {"JDQ_DEVICE": "cuda", "JDQ_GPUS": "2"}, [C]),
        (MIXED, {}, [A, *SLICES]),
        (MIXED, {"JDQ_GPUS": "1"}, SLICES),
        (MIXED, {"JDQ_GPUS": f"0,{SLICES[3]}"}, [A, SLICES[3]]),
        (MIXED, {"JDQ_GPUS": B}, SLICES),
        (
            MIXED,
            {"CUDA_VISIBLE_DEVICES": f"{SLICES[6]},{SLICES[2]}", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"},
            SLICES[6:1:-4],
        ),
        (DIFFERENT, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [B]),
        (DIFFERENT, {"CUDA_VISIBLE_DEVICES": B}, [B]),
        (FOUR, {"JDQ_GPUS": "none"}, []),
        (FOUR, {"JDQ_DEVICE": "cpu"}, []),
    ],
)
def test_a_worker_may_lease_the_gpus_that_are_chosen_and_visible(
    host: Path, tmp_path: Path, gpus: list[dict[str, str]], environment: dict[str, str], expected: list[str]
) -> None:
    write_host(host, gpus)
    assert usable(tmp_path, **environment) == expected


@pytest.mark.parametrize(
    ("gpus", "environment", "reason"),
    [
        (FOUR, {"JDQ_GPUS": "0,7"}, "JDQ_GPUS=0,7: 7 matches no GPU or several; .*3 NVIDIA H100 GPU-dddddddd-0000"),
        (ALIKE, {"JDQ_GPUS": "GPU-a"}, "GPU-a matches no GPU or several"),
        (MIXED, {"JDQ_GPUS": "MIG-x"}, "MIG-x matches no GPU"),
        (
            FOUR,
            {"CUDA_VISIBLE_DEVICES": ""},
            "jdq may use no GPU of this host with CUDA_VISIBLE_DEVICES=; .*JDQ_GPUS=none",
        ),
        (FOUR, {"JDQ_GPUS": "0", "CUDA_VISIBLE_DEVICES": "1"}, "with CUDA_VISIBLE_DEVICES=1"),
        (FOUR, {"JDQ_DEVICE": "cuda", "JDQ_GPUS": "none"}, "jdq may use no GPU of this host; it has"),
        (FOUR, {"JDQ_DEVICE": "cuda:2", "JDQ_GPUS": "0,1"}, "JDQ_DEVICE=cuda:2: jdq may use 2 GPUs"),
        (DIFFERENT, {"CUDA_VISIBLE_DEVICES": "1"}, "another order.*\n  try: CUDA_DEVICE_ORDER=PCI_BUS_ID"),
        ([], {}, "jdq may use no GPU of this host; it has: none"),
    ],
)
def test_a_choice_of_no_gpu_is_a_reason_and_not_a_worker_on_the_cpu(
    host: Path, tmp_path: Path, gpus: list[dict[str, str]], environment: dict[str, str], reason: str
) -> None:
    write_host(host, gpus)
    with pytest.raises(NotReady, match=f"(?s){reason}"):
        usable(tmp_path, **environment)


def test_a_driver_that_does_not_answer_is_a_reason(host: Path, tmp_path: Path) -> None:
    write_host(host, error="DriverNotLoaded")
    with pytest.raises(NotReady, match=r"driver does not answer: DriverNotLoaded\n  try: nvidia-smi"):
        usable(tmp_path)


def test_a_card_that_is_lost_is_a_reason(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(handle: object) -> str:
        raise fake.NVMLError_GpuIsLost("GPU is lost")

    monkeypatch.setattr(fake, "nvmlDeviceGetName", lost)
    with pytest.raises(NotReady, match="GPU is lost"):
        usable(tmp_path)


def test_without_a_driver_a_worker_computes_on_the_cpu_unless_a_gpu_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert usable(tmp_path) == []
    for wanted in ({"JDQ_DEVICE": "cuda"}, {"JDQ_GPUS": "0"}):
        with pytest.raises(NotReady, match="this host has no NVIDIA driver"):
            usable(tmp_path, **wanted)
    monkeypatch.setattr(gpu_choice, "is_rocm_build", lambda: True)
    assert usable(tmp_path, JDQ_DEVICE="cuda") == []


def test_a_pytorch_for_cpus_on_a_host_with_a_gpu_is_a_reason(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise NotReady("is built for CPUs")

    monkeypatch.setattr(gpu_choice, "check_gpu_build", refuse)
    with pytest.raises(NotReady, match="built for CPUs"):
        usable(tmp_path)
    assert usable(tmp_path, JDQ_GPUS="none") == []


@pytest.mark.parametrize("value", ["", "0,", "first", "0 1", "all,0", "-1", "GPU"])
def test_a_list_of_gpus_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    if not value:
        assert read_config({"JDQ_HOME": str(tmp_path), "JDQ_GPUS": value}).gpus == "all"
        return
    with pytest.raises(ConfigError, match=r"JDQ_GPUS is .*all, none, or indexes and UUIDs"):
        read_config({"JDQ_HOME": str(tmp_path), "JDQ_GPUS": value})


def gpu(uuid: str) -> Gpu:
    return Gpu(uuid=uuid, name="NVIDIA", index=0, card=uuid)


def shortage(min_free_gib: float, *, held: bool, own: set[int] | None = None, uuid: str = A) -> str:
    return MemoryLeft(min_free_gib, own=lambda: own or set()).shortage(gpu(uuid), held=held)


def test_a_gpu_of_which_others_leave_too_little_is_left_to_them(host: Path) -> None:
    write_host(host, [card("a", free_gib=30, processes={"7": 50}), card("b")])
    assert shortage(40, held=False) == f"GPU {A}: others leave 30.0 GiB, JDQ_GPU_MIN_FREE_GIB is 40"
    assert shortage(40, held=False, own={7}) != ""  # an earlier worker's memory is not free yet
    assert shortage(30, held=False) == ""
    assert shortage(0, held=False) == ""
    assert shortage(40, held=False, uuid=B) == ""


def test_a_worker_s_own_memory_counts_as_free_while_it_holds_the_gpu(host: Path) -> None:
    write_host(host, [card("a", free_gib=10, processes={"7": 50, "8": None, "9": 20})])
    assert shortage(60, held=True, own={7, 8}) == ""
    assert "leave 60.0 GiB" in shortage(61, held=True, own={7, 8})
    assert shortage(61, held=True, own={5}) == ""  # pids of another namespace: nobody can tell


def test_own_processes_are_the_worker_and_its_descendants(host: Path) -> None:
    write_host(host, [card("a", free_gib=10, processes={str(os.getpid()): 60})])
    assert MemoryLeft(70).shortage(gpu(A), held=True) == ""
    assert "leave 70.0 GiB" in MemoryLeft(71).shortage(gpu(A), held=True)


def test_a_slice_is_asked_for_its_own_memory_and_a_lost_gpu_is_left(host: Path) -> None:
    slices = [{"uuid": SLICES[0], "name": "MIG", "free_gib": 3}, {"uuid": SLICES[1], "name": "MIG", "free_gib": 9}]
    write_host(host, [card("b", slices=slices)])
    assert [bool(shortage(5, held=False, uuid=uuid)) for uuid in SLICES[:2]] == [True, False]
    write_host(host, error="GpuIsLost")
    assert shortage(5, held=True) == f"GPU {A} does not answer: GpuIsLost"


def test_the_reported_use_is_the_drivers_and_none_where_it_does_not_answer(host: Path) -> None:
    write_host(host, [card("a", free_gib=30, percent=40, milliwatts=312_500)])
    gpu = Gpu(uuid=A, name="NVIDIA H100", index=0, card=A)
    expected = GpuUse(uuid=A, percent=40, used=50 * 2**30, total=80 * 2**30, power_w=312.5)
    assert reported_use(gpu) == expected
    write_host(host, error="GpuIsLost")
    assert reported_use(gpu) is None
