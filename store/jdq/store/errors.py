"""What can be wrong with a store. Each error is named for the fact, carries its values, and can be pickled."""

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Self, TypeVar

# After a repair has quarantined the damaged shards, an extraction finds their rows missing.
REPAIR = "repair the store, then extract the dataset again\n  try: jdq store verify --repair"


P = TypeVar("P")
T = TypeVar("T")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`; did you mean NAME?` with the nearest of the known names; empty where none is near."""
    nearest = get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


class StoreError(Exception):
    """The root of all errors of the store."""


def read_each(
    paths: Iterable[P], read: Callable[[P], T], *, gone: tuple[type[Exception], ...] = (FileNotFoundError,)
) -> tuple[dict[P, T], dict[P, StoreError]]:
    """What `read` gives for each, and why the others cannot be read; what is `gone` by now is in neither."""
    found: dict[P, T] = {}
    faults: dict[P, StoreError] = {}
    for path in paths:
        try:
            found[path] = read(path)
        except gone:
            continue
        except StoreError as error:
            faults[path] = error
    return found, faults


class StoreFormatError(StoreError):
    """A folder or file does not follow the format, or is of a version that this jdq does not know."""


@dataclass(eq=False)
class UnknownSpace(StoreError):
    """No feature space has this digest, or none or several have one that begins with it."""

    digest: str
    candidates: Sequence[str]

    def __str__(self) -> str:
        if not self.candidates:
            return f"no feature space {self.digest!r}: the store has none yet\n  try: jdq submit extract data.csv"
        matches = [name for name in self.candidates if self.digest and name.startswith(self.digest)]
        fact = f"{self.digest!r} is the beginning of several" if matches else f"no feature space {self.digest!r}"
        return f"{fact}; the store has: {', '.join(matches or self.candidates)}\n  try: jdq store ls"


@dataclass(eq=False)
class MissingFeatures(StoreError):
    """Requested features are not in the feature space.

    `positions` are their places in the request, from 0; `keys` the text keys at these places, in hexadecimal.
    """

    space: str
    positions: tuple[int, ...]
    keys: tuple[str, ...]
    requested: int
    why: str = ""

    def __str__(self) -> str:
        shown = ", ".join(f"{p} ({k})" for p, k in zip(self.positions[:5], self.keys[:5], strict=True))
        more = f" and {len(self.positions) - 5} more" if len(self.positions) > 5 else ""
        fact = f"{len(self.positions)} of {self.requested} features are not in feature space {self.space}: "
        fact += f"positions (text keys) {shown}{more}"
        if self.why:
            return f"{fact}; {self.why}; {REPAIR}"
        return f"{fact}; extracting the dataset again computes only these\n  try: jdq submit extract data.csv"


@dataclass(eq=False)
class NotExtracted(StoreError):
    """A dataset version was never extracted, so no feature space holds its features."""

    dataset: str
    version: str

    def __str__(self) -> str:
        fact = f"dataset {self.dataset} {self.version} has no features yet: extract its file"
        return f"{fact}\n  try: jdq submit extract data.csv"


@dataclass(eq=False)
class DamagedShard(StoreError):
    """A shard does not follow the format, or its bytes have changed since it was written."""

    path: Path
    fact: str

    def __str__(self) -> str:
        return f"damaged shard {self.path}: {self.fact}; {REPAIR}"


@dataclass(eq=False)
class NotFinite(StoreError):
    """A put was refused: its rows at `positions`, from 0, hold a NaN or an infinity after the cast to `dtype`."""

    positions: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.positions[:10])) + (", ..." if len(self.positions) > 10 else "")
        return f"{len(self.positions)} rows are not finite as {self.dtype}: {rows}; nothing was stored"


@dataclass(eq=False)
class Refused(StoreError):
    """The operating system refused a call on a file: why."""

    path: Path
    errno: int
    reason: str

    @classmethod
    def by(cls, error: OSError, path: Path) -> Self:
        """The error of a call on `path`."""
        return cls(path, error.errno or 0, error.strerror or str(error))


class CannotRead(Refused):
    """A file, which need not be damaged, could not be opened or mapped, or a folder not be listed."""

    def __str__(self) -> str:
        fact = f"cannot read {self.path}: {self.reason} (errno {self.errno})"
        # A system allows about 65,000 maps per process.
        return f"{fact}\n  try: jdq store compact" if self.errno == errno.ENOMEM else fact


class CannotWrite(Refused):
    """A write failed; nothing was published."""

    def __str__(self) -> str:
        fact = f"cannot write {self.path}: {self.reason} (errno {self.errno}); nothing was published"
        full = self.errno in (errno.ENOSPC, errno.EDQUOT)
        return (
            f"{fact}; free space, or set JDQ_STORE to a folder on another disk\n  try: jdq store gc" if full else fact
        )
