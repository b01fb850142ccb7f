"""What can be wrong with a store, each error named for the fact. Every one can be pickled and carries its values."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path


class StoreError(Exception):
    """The root of all errors of the store."""


class StoreFormatError(StoreError):
    """A folder or file is not what the format says, or is of a version that this jdq does not know."""


class UnknownSpace(StoreError):
    """No feature space has this digest, or more than one begins with it."""

    def __init__(self, digest: str, candidates: Sequence[str]) -> None:
        super().__init__(digest, tuple(candidates))
        self.digest = digest
        self.candidates = tuple(candidates)

    def __str__(self) -> str:
        if not self.candidates:
            return f"no feature space {self.digest!r}: the store has none yet\n  try: jdq submit extract data.csv"
        return f"no feature space {self.digest!r}; the store has: {', '.join(self.candidates)}\n  try: jdq store ls"


class AmbiguousSpace(UnknownSpace):
    """Several feature spaces begin with the same digits."""

    def __str__(self) -> str:
        return (
            f"{self.digest!r} is the beginning of {len(self.candidates)} feature spaces: {', '.join(self.candidates)}"
        )


class MissingFeatures(StoreError):
    """Features that were asked for are not in the feature space.

    `positions` are the places in what was asked, from 0; `keys` the text keys at these places, in hexadecimal.
    """

    def __init__(self, space: str, positions: Sequence[int], keys: Sequence[str], asked: int, why: str = "") -> None:
        super().__init__(space, tuple(positions), tuple(keys), asked, why)
        self.space = space
        self.positions = tuple(positions)
        self.keys = tuple(keys)
        self.asked = asked
        self.why = why

    def __str__(self) -> str:
        shown = ", ".join(f"{p} ({k})" for p, k in zip(self.positions[:5], self.keys[:5], strict=True))
        more = f" and {len(self.positions) - 5} more" if len(self.positions) > 5 else ""
        fact = f"{len(self.positions)} of {self.asked} features are not in feature space {self.space}: "
        fact += f"positions (text keys) {shown}{more}"
        if self.why:
            return f"{fact}; {self.why}\n  try: jdq store verify --repair, then jdq submit extract"
        return f"{fact}\n  try: jdq submit extract (it computes just these)"


class NotExtracted(StoreError):
    """A dataset version was never extracted, so no feature space holds its features."""

    def __init__(self, dataset: str, version: str) -> None:
        super().__init__(dataset, version)
        self.dataset = dataset
        self.version = version

    def __str__(self) -> str:
        return f"dataset {self.dataset} {self.version} has no features yet\n  try: jdq submit extract its file"


class DamagedShard(StoreError):
    """A shard is not what the format says, or its bytes are not those that were written."""

    def __init__(self, path: str | Path, fact: str) -> None:
        super().__init__(str(path), fact)
        self.path = Path(path)
        self.fact = fact

    def __str__(self) -> str:
        return f"damaged shard {self.path}: {self.fact}\n  try: jdq store verify --repair, then jdq submit extract"


class NotFinite(StoreError):
    """Features hold a NaN or an infinity after the cast to the storage dtype; `positions` are their rows, from 0."""

    def __init__(self, positions: Sequence[int], dtype: str) -> None:
        super().__init__(tuple(positions), dtype)
        self.positions = tuple(positions)
        self.dtype = dtype

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.positions[:10]))
        more = ", ..." if len(self.positions) > 10 else ""
        return f"{len(self.positions)} rows are not finite as {self.dtype}: {shown}{more}; nothing was stored"


class DuplicateKeys(StoreError):
    """One put held the same text key twice; `positions` are the rows whose key stood before them, from 0."""

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(tuple(positions))
        self.positions = tuple(positions)

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.positions[:10]))
        return f"{len(self.positions)} rows repeat a text key of the same put: {shown}; nothing was stored"


class CannotWrite(StoreError):
    """The operating system refused a write; nothing became visible."""

    def __init__(self, path: str | Path, number: int, reason: str) -> None:
        super().__init__(str(path), number, reason)
        self.path = Path(path)
        self.errno = number
        self.reason = reason

    def __str__(self) -> str:
        fact = f"cannot write {self.path}: {self.reason} (errno {self.errno}); nothing was published"
        full = self.errno in (errno.ENOSPC, errno.EDQUOT)
        return f"{fact}\n  try: jdq store gc, or another disk for JDQ_STORE" if full else fact
