"""The progress watch: what counts as a hang, and what does not."""

from dataclasses import dataclass, field

import pytest

from jdq.worker.process.progress_watch import ProgressWatch


@dataclass
class Process:
    """A process whose clocks the test sets, and its watch: a look every second, 10 s without progress are a hang."""

    on_cpu: bool = False
    now: float = 100.0
    cpu: float = 5.0
    watch: ProgressWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = ProgressWatch(
            10, interval_s=1, on_cpu=self.on_cpu, clock=lambda: self.now, cpu_clock=lambda: self.cpu
        )

    def live(self, seconds: float, *, cpu: float = 0.0, each: float = 1.0) -> list[bool]:
        """Time passes, and with each second so much CPU time; what every look says."""
        looks = []
        for _ in range(round(seconds / each)):
            self.now += each
            self.cpu += cpu
            looks.append(self.watch.look())
        return looks


def test_silence_for_longer_than_the_bound_is_a_hang() -> None:
    assert Process().live(12) == [False] * 10 + [True] * 2


def test_progress_starts_the_count_again() -> None:
    process = Process()
    process.live(9)
    process.watch.progress()
    assert not any(process.live(11))
    assert process.watch.silent_s == 10
    assert process.live(1) == [False]  # it was silent for 9 s once, and is granted more


@pytest.mark.parametrize(("cpu", "hangs"), [(0.011, False), (0.009, True)])
def test_cpu_time_is_progress_where_the_cpu_computes(cpu: float, hangs: bool) -> None:
    assert any(Process(on_cpu=True).live(30, cpu=cpu)) is hangs
    assert any(Process(on_cpu=False).live(30, cpu=cpu))


def test_work_that_was_silent_for_long_before_is_granted_twenty_times_as_long() -> None:
    process = Process()
    process.live(3)
    process.watch.progress()
    process.live(1)
    assert process.watch.bound_s == 60
    assert process.live(61) == [False] * 60 + [True]


def test_a_process_that_was_paused_does_not_hang_when_it_wakes_up() -> None:
    process = Process()
    process.live(4)
    assert process.live(3600, each=3600) == [False]
    assert process.watch.silent_s == 7  # three looks' time, whatever the clock says
