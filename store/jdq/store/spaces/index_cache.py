"""The files of the index: written where they save work, removed when another file covers them, never required."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from jdq.store.files.digests import UnreadableFile, digest_of, read_json, to_json
from jdq.store.files.publish import replace
from jdq.store.spaces import segment
from jdq.store.spaces.segment import Segment

SUFFIX = ".keys"
COUNTS = "counts.json"


class _Counts(msgspec.Struct):
    shards: str
    counts: dict[str, int]


class IndexCache:
    """The folder of a feature space's segments. It may be deleted at any time, and need not be writable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.read_only = False

    def segments(self, but: Collection[Path | None] = ()) -> list[Segment]:
        """All sound segments, except those in the files `but`; the longest first."""
        parts = (segment.read(path) for path in self.paths() if path not in but)
        return sorted((part for part in parts if part is not None), key=len, reverse=True)

    def write(self, parts: Sequence[Segment], alive: Collection[str]) -> Segment | None:
        """One segment of these parts, in a file; None where it cannot be written. Files that it covers are removed."""
        shards = {name for part in parts for name in part.shards if name in alive}
        path = self._folder / (digest_of("".join(sorted(shards)).encode()) + SUFFIX)
        with contextlib.suppress(OSError):
            if self.read_only:
                return None
            written = segment.write(path, parts, alive)
            for part in parts:
                # Only those with strictly fewer shards: then two processes never remove each other's files.
                if part.path is not None and shards > set(part.shards):
                    part.path.unlink()
            return written
        return None

    def counted(self, what: str, shards: str, count: Callable[[], int], keep: Callable[[], bool]) -> int:
        """`count()`, kept while the folder has the shards of this digest, if it is writable and `keep()`."""
        counts: dict[str, int] = {}
        with contextlib.suppress(OSError, UnreadableFile):
            known = read_json(self._folder / COUNTS, _Counts)
            counts = known.counts if known.shards == shards else {}
        if what not in counts:
            counts[what] = count()
            if keep() and not self.read_only:
                with contextlib.suppress(OSError):
                    replace(self._folder / COUNTS, to_json(_Counts(shards, counts)), durable=False)
        return counts[what]

    def clear(self) -> None:
        """Remove every segment's file."""
        for path in self.paths():
            with contextlib.suppress(OSError):
                path.unlink()

    def paths(self) -> Iterator[Path]:
        """The segments' files."""
        with contextlib.suppress(OSError):
            yield from sorted(path for path in self._folder.iterdir() if path.suffix == SUFFIX)
