"""Encoders that stay in memory between chunks and jobs, up to a bound."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from jdq.worker.encoder.encoder import Encoder
from jdq.worker.encoder.folder import find_folder
from jdq.worker.encoder.identity import read_files
from jdq.worker.encoder.loading import build_encoder, stamp
from jdq.worker.encoder.options import AUTO

MAX_BYTES = 6 * 2**30  # three bart-large encoders in float32, with room

Key = tuple[object, ...]


@dataclass(slots=True)
class EncoderCache:
    """Loaded encoders; the least recently used are dropped when their weights exceed `max_bytes`. Thread-safe.

    An encoder whose files have changed is loaded again. The newest stays even if it exceeds the bound by itself.
    """

    max_bytes: int = MAX_BYTES
    _loaded: OrderedDict[Key, Encoder] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(
        self, name: str, *, max_length: int | None, precision: str, device: str, poolings: Sequence[str] = (AUTO,)
    ) -> Encoder:
        """The encoder as `load_encoder` makes it, from memory if it is there. Raises what `load_encoder` raises."""
        folder = find_folder(name)
        key = (folder, stamp(folder), max_length, precision, device, tuple(poolings))
        with self._lock:
            if key not in self._loaded:
                files = read_files(folder, max_length=max_length, precision=precision, poolings=poolings)
                for stale in [kept for kept in self._loaded if kept[0] == folder and kept[1] != key[1]]:
                    del self._loaded[stale]
                self._loaded[key] = build_encoder(files, device=device)
                self._shrink()
            self._loaded.move_to_end(key)
            return self._loaded[key]

    @property
    def size_bytes(self) -> int:
        """The memory that the weights of all loaded encoders take."""
        return sum(encoder.network.size_bytes for encoder in self._loaded.values())

    def _shrink(self) -> None:
        while len(self._loaded) > 1 and self.size_bytes > self.max_bytes:
            self._loaded.popitem(last=False)
