"""Trained heads and fine-tuned models, by the id of the job that made them: `heads/<job>.safetensors`, `models/<job>/`.

Their records are read here as plain JSON; only the workers know how to predict with them.
"""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from jdq.store.errors import CannotWrite, StoreError, did_you_mean, read_each
from jdq.store.files.digests import UNSET, UnreadableFile, check_digest, check_folder, digest_of, read_json, set_digest
from jdq.store.files.publish import publish, remove
from jdq.store.job_files import JOB

SUFFIX = ".safetensors"
RECORD = "jdq.json"
# Beside a fine-tune's weights: the first 8 bytes of the keys of the texts that it has learnt from, (n,) uint64.
LEARNT = "learnt_texts.npy"
# The limit that safetensors itself sets for a header.
MAX_HEADER_BYTES = 100_000_000

T = TypeVar("T")


@dataclass(eq=False)
class UnknownTrained(StoreError):
    """The store has no head, or no model, of this id."""

    kind: str
    wanted: str
    known: Sequence[str]

    def __str__(self) -> str:
        command = {"head": "jdq submit train-head", "model": "jdq submit fine-tune data.csv"}[self.kind]
        if not self.known:
            return f"no {self.kind} has the id {self.wanted!r}: the store has none yet\n  try: {command}"
        nearest = did_you_mean(self.wanted, self.known)
        return f"no {self.kind} has the id {self.wanted!r}{nearest}\n  try: jdq {self.kind}s ls"


class DamagedRecord(StoreError):
    """The record of a head or a model cannot be read."""


class CannotCopy(StoreError):
    """The target of an export already exists, or its folder does not."""


class TrainedStore(ABC):
    """All heads, or all models. None is ever changed: a job adds one, or one is removed."""

    kind: Literal["head", "model"]
    suffix: str

    def __init__(self, root: Path) -> None:
        """`root` is the store's folder."""
        self._folder = root / f"{self.kind}s"

    def ids(self) -> list[str]:
        """The ids of all, the newest first."""
        jobs = (path.name.removesuffix(self.suffix) for path in self._folder.glob(f"*{self.suffix}"))
        found, _ = read_each(filter(JOB.fullmatch, jobs), lambda job: self.place(job).stat().st_mtime)
        return sorted(found, key=lambda job: (-found[job], job))

    def has(self, job: str) -> bool:
        """Whether one of this id exists."""
        return JOB.fullmatch(job) is not None and self.place(job).exists()

    def path(self, job: str) -> Path:
        """The file or folder of this id. Raises UnknownTrained."""
        if not self.has(job):
            raise UnknownTrained(self.kind, job, self.ids())
        return self.place(job)

    def place(self, job: str) -> Path:
        """Where the job's head or model is, or will be."""
        return self._folder / f"{job}{self.suffix}"

    def remove(self, job: str) -> None:
        """Remove it. Raises UnknownTrained."""
        remove(self.path(job), trash_in=self._folder)

    def export(self, job: str, target: Path) -> None:
        """Copy it to `target`, all of it or nothing. Raises UnknownTrained, CannotCopy, CannotWrite, DamagedRecord."""
        source = self.path(job)
        self.check(job)
        if target.exists():
            raise CannotCopy(f"{target} exists; choose another name")
        if not target.absolute().parent.is_dir():
            raise CannotCopy(f"no such folder: {target.absolute().parent}")
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        try:
            with tempfile.TemporaryDirectory(prefix=".", dir=target.absolute().parent) as folder:
                copy(source, Path(folder, target.name))
                Path(folder, target.name).rename(target)
        except OSError as error:
            self.check(job)  # perhaps reading failed
            raise CannotWrite.by(error, target) from error

    def check(self, job: str) -> None:
        """Read every byte. Raises UnknownTrained, and DamagedRecord where one is not as written."""
        self._read(job, self._check)

    def record(self, job: str) -> dict[str, Any]:
        """Its record, as the worker wrote it, whose digest is checked. Raises UnknownTrained, DamagedRecord."""
        return self._read(job, self._record)

    def size_bytes(self, job: str) -> int:
        """Its size on disk. Raises UnknownTrained."""
        path = self.path(job)
        return sum(file.stat().st_size for file in (path, *path.glob("*")) if file.is_file())

    def _read(self, job: str, read: Callable[[Path], T]) -> T:
        try:
            return read(self.path(job))
        except (OSError, KeyError, TypeError, ValueError, msgspec.MsgspecError, UnreadableFile) as error:
            fact = f"{self.place(job)} cannot be read: {error}"
            raise DamagedRecord(f"{fact}\n  try: jdq {self.kind}s rm {job}") from error

    @abstractmethod
    def _check(self, path: Path) -> None: ...

    @abstractmethod
    def _record(self, path: Path) -> dict[str, Any]: ...


class Heads(TrainedStore):
    """The folder STORE/heads: one file per head."""

    kind: Literal["head", "model"] = "head"
    suffix = SUFFIX

    def put(self, job: str, data: bytes) -> bool:
        """Store a head; False where the job already has one, which is kept."""
        return publish(self.place(job), _with_digests(data))

    def _check(self, path: Path) -> None:
        metadata, end = _metadata(path)
        digest = digest_of(path.read_bytes()[end:])
        if metadata.get("data_digest", digest) != digest:
            raise ValueError("it has changed since it was written")

    def _record(self, path: Path) -> dict[str, Any]:
        # Loading a head checks the rest of the file.
        record: dict[str, Any] = msgspec.json.decode(_metadata(path)[0]["head"], type=dict[str, Any])["record"]
        return record


class Models(TrainedStore):
    """The folder STORE/models: a Hugging Face folder per model, with jdq.json beside the weights."""

    kind: Literal["head", "model"] = "model"
    suffix = ""

    def _check(self, path: Path) -> None:
        check_folder(path)

    def _record(self, path: Path) -> dict[str, Any]:
        return read_json(path / RECORD, dict[str, Any])

    def encoder(self, name: str) -> str:
        """The folder of the model whose id is `name`, all of it checked; any other name unchanged."""
        if not self.has(name):
            return name
        self.check(name)
        return str(self.place(name))


def _metadata(path: Path) -> tuple[dict[str, Any], int]:
    """The metadata in a head's header, and where the header ends."""
    with path.open("rb") as file:
        front = file.read(8)
        front += file.read(min(int.from_bytes(front, "little"), MAX_HEADER_BYTES))
    check_digest(front)
    return msgspec.json.decode(front[8:], type=dict[str, Any])["__metadata__"], len(front)


def _with_digests(data: bytes) -> list[bytes]:
    """A safetensors file, with `data_digest` (of what follows its header) and the header's digest in its metadata."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(data[8:end], type=dict[str, Any])
    header["__metadata__"] |= {"data_digest": digest_of(data[end:]), "self_digest": UNSET}
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    return [set_digest(len(text).to_bytes(8, "little") + text), data[end:]]
