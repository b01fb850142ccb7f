"""A feature space in the store: write rows by text key, find missing ones, read them in any order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from jdq.store.errors import CannotWrite, DamagedShard, MissingFeatures, NotFinite, StoreFormatError
from jdq.store.files.digests import UnreadableFile, is_shared, read_json
from jdq.store.files.publish import publish
from jdq.store.fork_lock import cached_property
from jdq.store.keys import Keys, checked_keys, places_by_owner, repeats
from jdq.store.spaces.definition import FeatureSpace
from jdq.store.spaces.index import Index, shard_names
from jdq.store.spaces.mapped_shard import MappedShard, current_identity, open_shard
from jdq.store.spaces.mmap_file import MappedFiles
from jdq.store.spaces.quarantine import quarantine
from jdq.store.spaces.rows import FeatureRows
from jdq.store.spaces.segment import Positions
from jdq.store.spaces.shard import Features, Tokens, encode_shard

# How often a read or a put is repeated because others replaced files meanwhile. Each attempt sees all that was
# published before it, so a third one needs two compactions within milliseconds.
ATTEMPTS = 5
REPAIR = "\n  try: jdq store verify --repair"


class Space:
    """All features of one feature space. Processes and threads may share it, and it can be pickled."""

    def __init__(self, path: Path) -> None:
        """Open the feature space in the folder `path`; StoreFormatError where its name is not its definition's."""
        self.path = path
        self.definition = _read_definition(path)
        self.digest = self.definition.digest
        self.shards = path / "shards"
        self.index = Index(self.digest, self.shards, path / "index")
        self._open: dict[str, MappedShard] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.path,)

    def __repr__(self) -> str:
        return f"Space({self.digest}, {self.definition.architecture}, dim={self.definition.dim})"

    @cached_property
    def _files(self) -> MappedFiles:
        return MappedFiles(self.definition.dim, self.definition.storage_dtype, is_mapped=not is_shared(self.path))

    def put(
        self, keys: npt.ArrayLike, features: npt.ArrayLike, n_tokens: npt.ArrayLike, *, producer: Mapping[str, str]
    ) -> str:
        """Store one row per key as one shard, durably, all rows or none; returns the shard's name.

        `keys` (n, 16) uint8, all different; `features` (n, dim), cast to the storage dtype; `n_tokens` (n,), before
        truncation. Rows that are adjacent here can later be read without a copy, so put them in the dataset's order.
        Putting the same keys again succeeds, and keeps the existing shard. Raises NotFinite, CannotWrite and ValueError
        (shapes, a key that occurs twice); then nothing was stored.
        """
        key_rows = checked_keys(keys)
        rows, tokens = self._checked_rows(key_rows, np.asarray(features), np.asarray(n_tokens))
        name, pieces = encode_shard(self.definition, key_rows, rows, tokens, producer=producer)
        self._publish(self.shard_path(name), pieces)
        return name

    def missing(self, keys: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(n,) bool: True where the key has no row. Sees everything that any process put before the call."""
        self.index.refresh()
        return self.index.locate(checked_keys(keys))[0] < 0

    def read(self, keys: npt.ArrayLike) -> Features:
        """(n, dim) in memory, in the order of `keys`, repeats allowed. Raises MissingFeatures or DamagedShard."""
        key_rows = checked_keys(keys)
        while True:
            rows = self.rows(key_rows)
            try:
                block = rows[:]
            except DamagedShard as damage:
                self._forget(damage)
                continue
            return block if block.flags.writeable else block.copy()

    def rows(self, keys: npt.ArrayLike) -> FeatureRows:
        """The rows of `keys` as one memory-mapped array, in their order. Raises MissingFeatures or DamagedShard.

        A shard's digest is checked when its rows are first used, so DamagedShard may be raised then, too.
        """
        shards, owners, rows = self._resolve(checked_keys(keys))
        first_rows = np.array([shard.first_row for shard in shards], dtype=np.int64)
        return FeatureRows(shards, self._files, first_rows[owners] + rows)

    def n_tokens(self, keys: npt.ArrayLike) -> Tokens:
        """(n,) uint32: the number of tokens of each text before truncation. Raises MissingFeatures or DamagedShard."""
        shards, owners, rows = self._resolve(checked_keys(keys))
        out = np.empty(len(rows), dtype=np.uint32)
        for owner, places in places_by_owner(owners):
            out[places] = shards[owner].n_tokens[rows[places]]
        return out

    def shard_names(self) -> list[str]:
        """The names of the existing shards, sorted."""
        return sorted(shard_names(self.shards))

    def count(self) -> int:
        """The number of different keys that have a row."""
        self.index.refresh()
        return int(self.index.owned().sum())

    def shard_path(self, name: str) -> Path:
        """The path of the shard of this name, which may not exist."""
        return self.shards / f"{name}.h5"

    def open_shard(self, name: str) -> MappedShard:
        """The shard of this name, kept open. Raises FileNotFoundError or DamagedShard."""
        path, known = self.shard_path(name), self._open.get(name)
        # A file that was replaced or written to is opened and checked again.
        if known is None or current_identity(path) != known.identity:
            self._open[name] = known = open_shard(path, space=self.digest, files=self._files)
        return known

    def examine(self, number: int) -> MappedShard:
        """The shard of this number in the index, opened anew. Raises FileNotFoundError or DamagedShard."""
        return open_shard(self.shard_path(self.index.names[number]), space=self.digest)

    def _checked_rows(
        self, keys: Keys, features: npt.NDArray[np.generic], n_tokens: npt.NDArray[np.generic]
    ) -> tuple[Features, Tokens]:
        dim, dtype = self.definition.dim, self.definition.storage_dtype
        if not len(keys) or features.shape != (len(keys), dim) or n_tokens.shape != (len(keys),):
            raise ValueError(
                f"a put takes n > 0 keys, features (n, {dim}) and n_tokens (n,), "
                f"not {len(keys)} keys, {features.shape} and {n_tokens.shape}"
            )
        if (repeated := repeats(keys)).any():
            raise ValueError(f"a put takes different keys, but those of rows {np.flatnonzero(repeated)} occur before")
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(features, dtype=np.dtype(dtype).newbyteorder("<"))
        # After the cast: 70,000 is finite in float32 and an infinity in float16.
        if not (finite := _finite_rows(rows)).all():
            raise NotFinite(tuple(np.flatnonzero(~finite).tolist()), dtype)
        return rows, np.ascontiguousarray(n_tokens, dtype="<u4")

    def _publish(self, path: Path, pieces: Sequence[bytes | memoryview]) -> None:
        """Publish the shard, unless it exists and is sound; a damaged one is quarantined."""
        for _ in range(ATTEMPTS):
            try:
                if publish(path, pieces):
                    return None
            except OSError as error:
                raise CannotWrite.by(error, path) from error
            identity = current_identity(path)
            try:
                return open_shard(path, space=self.digest).check()
            except FileNotFoundError:
                continue
            except DamagedShard:
                quarantine(self.path, path, identity)
        raise DamagedShard(path, f"it was damaged and put again {ATTEMPTS} times")

    def _resolve(self, keys: Keys) -> tuple[list[MappedShard], Positions, Positions]:
        """The shards that have the keys, and for each key its shard's position among them and its row there."""
        for attempt in range(ATTEMPTS):
            located, rows = self.index.locate(keys)
            if attempt or (located < 0).any():
                self.index.refresh()
                located, rows = self.index.locate(keys)
                self._require_all(located, keys)
            numbers, owners = np.unique(located, return_inverse=True)
            try:
                shards = [self.open_shard(self.index.names[number]) for number in numbers]
            except FileNotFoundError:
                continue
            except DamagedShard as damage:
                self._forget(damage)
                continue
            if _have(shards, owners, rows, keys):
                return shards, owners, rows
            self.index.rebuild()
        raise StoreFormatError(f"feature space {self.path} changed {ATTEMPTS} times while it was read; read it again")

    def _forget(self, damage: DamagedShard) -> None:
        """Treat the damaged shard as missing from now on."""
        known = self._open.pop(damage.path.stem, None)
        self.index.forget(damage, known.identity if known else None)

    def _require_all(self, located: Positions, keys: Keys) -> None:
        missing = np.flatnonzero(located < 0)
        if len(missing):
            damaged = [f"shard {name} is damaged: {fact}" for name, fact in self.index.unreadable().items()]
            names = tuple(bytes(keys[position]).hex() for position in missing)
            raise MissingFeatures(self.digest, tuple(missing.tolist()), names, len(keys), "; ".join(damaged[:3]))


def _read_definition(path: Path) -> FeatureSpace:
    file = path / "space.json"
    try:
        definition = read_json(file, FeatureSpace)
    except FileNotFoundError:
        raise StoreFormatError(f"{path} is not a feature space: it has no space.json") from None
    except UnreadableFile as error:
        raise StoreFormatError(f"{file} does not define a feature space: {error.fact}{REPAIR}") from None
    if definition.digest != path.name:
        raise StoreFormatError(f"{file} defines feature space {definition.digest}, not that of its folder name{REPAIR}")
    return definition


def _have(shards: Sequence[MappedShard], owners: Positions, rows: Positions, keys: Keys) -> bool:
    """Whether each row has the requested key, according to the shards themselves."""
    for owner, places in places_by_owner(owners):
        stored = shards[owner].keys
        if rows[places].max() >= len(stored) or not np.array_equal(stored[rows[places]], keys[places]):
            return False
    return True


def _finite_rows(rows: Features) -> npt.NDArray[np.bool_]:
    """(n,) bool. As integers, infinities and NaN are the largest of each sign. np.isfinite takes longer."""
    size, infinity, sign = (2, 0x7C00, 1 << 15) if rows.dtype == np.float16 else (4, 0x7F800000, 1 << 31)
    finite = np.ones(len(rows), dtype=bool)
    # In blocks that stay in the core's cache.
    for start in range(0, len(rows), 256):
        block = rows[start : start + 256]
        if block.view(f"<i{size}").max() >= infinity or block.view(f"<u{size}").max() >= infinity + sign:
            finite[start : start + 256] = np.isfinite(block).all(axis=1)
    return finite
