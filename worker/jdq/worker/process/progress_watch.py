"""The progress watch: whether the work of a process still goes on, or hangs in a kernel that never returns."""

import time
from collections.abc import Callable

# A process that uses less of one core than this does not compute; the heartbeat itself uses a tenth of it.
LEAST_CPU = 0.01
# Work that was silent for long before is granted as long a silence so many times over: a step of a large network, say.
PATIENCE = 20
# Of the time between two looks, so that a process that was paused or a machine that slept hangs on waking in nothing.
LONGEST_INTERVAL = 3


class ProgressWatch:
    """Counts the seconds without a sign of progress, from one look to the next.

    bound_s: so long a silence is a hang. on_cpu: CPU time is progress, too; on a GPU it is not, because a process that
    waits for a kernel may spin.
    """

    def __init__(
        self,
        bound_s: float,
        *,
        interval_s: float,
        on_cpu: bool,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._bound_s = bound_s
        self._longest_interval_s = LONGEST_INTERVAL * interval_s
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._on_cpu = on_cpu
        self._looked_at = clock(), cpu_clock()
        self._longest_s = 0.0
        self._moved = False
        self.silent_s = 0.0

    def progress(self) -> None:
        """Something was done. Costs nothing: call it often."""
        self._moved = True

    @property
    def bound_s(self) -> float:
        """Seconds of silence that count as a hang now."""
        return max(self._bound_s, PATIENCE * self._longest_s)

    def look(self) -> bool:
        """Whether the work hangs. Call it every `interval_s`."""
        before, cpu_before = self._looked_at
        self._looked_at = now, cpu_now = self._clock(), self._cpu_clock()
        computed = self._on_cpu and cpu_now - cpu_before >= LEAST_CPU * (now - before)
        if self._moved or computed:
            self._longest_s = max(self._longest_s, self.silent_s)
            self._moved = False
            self.silent_s = 0.0
        else:
            self.silent_s += min(now - before, self._longest_interval_s)
        return self.silent_s > self.bound_s
