"""The progress watch: whether the work of a process makes progress, or hangs in a kernel that never returns."""

import time
from collections.abc import Callable

# A process that uses less of one core than this does not compute; the heartbeat itself uses a tenth of it.
LEAST_CPU = 0.01
# Work is granted this many times its longest silence so far, which may be a step of a large network.
PATIENCE = 20
# A check counts at most this many intervals, so that waking from a pause or a sleep does not look like a hang.
LONGEST_INTERVAL = 3


class ProgressWatch:
    """Counts the seconds without a sign of progress, from one check to the next.

    bound_s: a silence of this length is a hang. on_cpu: CPU time is progress, too; on a GPU it is not, because a
    process that waits for a kernel may spin.
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
        """Something was done. This costs nothing: call it often."""
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
