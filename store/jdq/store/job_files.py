"""Files of jobs: `runs/<job>/result.json`, `runs/<job>/<name>.json` and `<name>.npy`, each written once."""

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from jdq.store.errors import StoreError
from jdq.store.files.digests import (
    UnreadableFile,
    array_pieces,
    check_file,
    file_digest,
    read_array,
    read_json,
    to_json,
)
from jdq.store.files.publish import publish, remove, replace

# Job ids come from the network and become folder names.
JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RESULT = "result"

T = TypeVar("T")


class InvalidJob(StoreError):
    """Not a valid job id, or not a valid name of a job's file."""


class NoResult(StoreError):
    """The store has no file of this name of the job, or it is damaged."""


class JobFiles:
    """The folder STORE/runs. The first version of a file is kept, so that a chunk may run twice."""

    def __init__(self, root: Path) -> None:
        """`root` is the store's folder."""
        self._folder = root / "runs"

    def put_result(self, job: str, result: Mapping[str, Any] | msgspec.Struct) -> bool:
        """Store a job's result as JSON; False where it already has one, which is kept."""
        return self.put_json(job, RESULT, result)

    def get_result(self, job: str) -> dict[str, Any]:
        """The job's result. Raises NoResult."""
        return self.get_json(job, RESULT)

    def put_json(self, job: str, name: str, value: Mapping[str, Any] | msgspec.Struct) -> bool:
        """Store a named JSON object of a job; False where it already exists, and is kept."""
        return publish(self._named(job, name, "json"), to_json(value))

    def get_json(self, job: str, name: str) -> dict[str, Any]:
        """The named JSON object. Raises NoResult."""
        return self._read(job, self._named(job, name, "json"), name, lambda path: read_json(path, dict[str, Any]))

    def replace_json(self, job: str, name: str, value: Mapping[str, Any] | msgspec.Struct) -> None:
        """Store a named JSON object of a job, in place of the one that is there."""
        replace(self._named(job, name, "json"), to_json(value))

    def remove_json(self, job: str, name: str) -> None:
        """Remove a named JSON object of a job, if there is one."""
        path = self._named(job, name, "json")
        with contextlib.suppress(FileNotFoundError):
            remove(path, trash_in=path.parent)

    def jobs_with(self, name: str) -> list[str]:
        """The ids of the jobs that have a JSON object of this name."""
        return sorted(path.parent.name for path in self._folder.glob(f"[!.]*/{name}.json"))

    def put_array(self, job: str, name: str, array: np.ndarray) -> bool:
        """Store a named array of a job; False where it already exists, and is kept. ValueError for objects."""
        return publish(self._named(job, name, "npy"), array_pieces(array))

    def get_array(self, job: str, name: str) -> np.ndarray:
        """The array, memory-mapped and read-only. Raises NoResult."""
        return self._read(job, self._named(job, name, "npy"), f"array {name!r}", read_array)

    def paths(self) -> list[Path]:
        """The stored objects and arrays of all jobs."""
        paths = [path for path in self._folder.glob("[!.]*/*") if path.suffix in (".json", ".npy")]
        return sorted(path for path in paths if NAME.fullmatch(path.stem))

    def check(self, path: Path) -> None:
        """Compare one of `paths` with its digest, and the table that it describes, unless that was removed.

        Raises FileNotFoundError, UnreadableFile.
        """
        value = read_json(path, dict[str, Any]) if path.suffix == ".json" else read_array(path)
        table = path.with_suffix(".csv")
        if isinstance(value, dict) and "table_digest" in value and table.exists():
            check_file(table, str(value["table_digest"]))

    def describe_table(self, table: Path) -> None:
        """Note the digest of a job's finished table `<name>.csv` in `<name>.json`, for `check`."""
        replace(table.with_suffix(".json"), to_json({"table_digest": file_digest(table)}))

    def folder(self, job: str) -> Path:
        """The folder of the job's files: the above, checkpoints, and tables that it wrote. It may not exist."""
        if not JOB.fullmatch(job):
            raise InvalidJob(f"{job[:80]!r} cannot be a job id")
        return self._folder / job

    @staticmethod
    def _read(job: str, path: Path, what: str, read: Callable[[Path], T]) -> T:
        try:
            return read(path)
        except FileNotFoundError:
            raise NoResult(f"job {job} has no {what} in the store\n  try: jdq status {job}") from None
        except UnreadableFile as error:
            raise NoResult(f"the {what} of job {job} is damaged: {error}") from None

    def _named(self, job: str, name: str, ending: str) -> Path:
        if not NAME.fullmatch(name):
            raise InvalidJob(f"{name[:80]!r} cannot be the name of a job's file: lower-case letters, digits, '_', '-'")
        return self.folder(job) / f"{name}.{ending}"
