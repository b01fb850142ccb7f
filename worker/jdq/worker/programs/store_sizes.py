"""The size of the store's folder, measured in the background: listing all of its files may take minutes."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

INTERVAL_S = 60.0
IDLE_SHARE = 20  # measuring takes at most one twentieth of the time


class StoreSizes(Collector):
    """``jdq_store_bytes``, ``jdq_store_free_bytes``; none before the first measurement, or where there is no store."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._sizes: tuple[int, int] | None = None

    def start(self) -> None:
        """Measures from now on, in a thread."""
        threading.Thread(target=self._run, name="store-sizes", daemon=True).start()

    def measure(self) -> None:
        """Measures once."""
        try:
            self._sizes = _bytes_in(self._store), shutil.disk_usage(self._store).free
        except OSError:
            self._sizes = None

    def collect(self) -> Iterator[Metric]:
        if self._sizes:
            used, free = self._sizes
            yield GaugeMetricFamily("jdq_store_bytes", "Bytes that the store's files occupy.", value=used)
            yield GaugeMetricFamily("jdq_store_free_bytes", "Bytes that are free on the store's disk.", value=free)

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            self.measure()
            time.sleep(max(INTERVAL_S, IDLE_SHARE * (time.monotonic() - began)))


def _bytes_in(root: Path) -> int:
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):  # another process has just removed or replaced the file
                total += 512 * os.lstat(f"{folder}/{name}").st_blocks
    return total
