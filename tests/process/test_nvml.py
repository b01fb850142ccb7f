"""What the driver says about a GPU's use, from a fake NVML."""

from pathlib import Path

import pytest

from jdq.worker.process import nvml
from jdq.worker.process.nvml import DriverFault, gpus, memory_of, use_of
from jdq.worker.queue.records import GpuUse
from tests.fake_nvml import pynvml as fake
from tests.fake_nvml.host import card, write_host

GIB = 2**30
SLICE = {"uuid": "MIG-1", "name": "slice", "free_gib": 3}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a host with a busy card, and one of which a process uses a slice."""
    monkeypatch.setattr(nvml, "pynvml", fake)
    first = card("a", free_gib=30, percent=40, milliwatts=312_500, processes={"7": 2, "8": None})
    file = write_host(tmp_path / "nvml.json", [first, card("b", slices=[SLICE])])
    monkeypatch.setenv("FAKE_NVML", str(file))
    return file


def test_the_use_of_a_card_has_a_share_of_the_time_and_a_power_and_that_of_a_slice_has_neither(host: Path) -> None:
    whole, part = gpus() or []
    assert use_of(whole) == GpuUse(uuid=whole.uuid, percent=40, used=50 * GIB, total=80 * GIB, power_w=312.5)
    assert use_of(part) == GpuUse(uuid=part.uuid, used=77 * GIB, total=80 * GIB)


def test_memory_is_listed_by_process_and_is_0_where_the_driver_does_not_say(host: Path) -> None:
    whole, part = gpus() or []
    assert memory_of(whole) == nvml.Memory(free=30 * GIB, by_process={7: 2 * GIB, 8: 0})
    assert memory_of(part) == nvml.Memory(free=3 * GIB, by_process={})


@pytest.mark.parametrize("ask", [use_of, memory_of])
def test_a_card_that_is_lost_is_a_fault_of_the_driver(host: Path, ask: object) -> None:
    [whole, _] = gpus() or []
    write_host(host, error="GpuIsLost")
    with pytest.raises(DriverFault, match=r"^GpuIsLost$"):
        ask(whole)  # type: ignore[operator]
