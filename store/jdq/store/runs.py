"""Results of jobs: `runs/<job>/result.json` and `runs/<job>/<name>.npy`, each written once."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jdq.store.errors import StoreError
from jdq.store.publish import publish

# Job ids come from the network and become folders' names.
JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RESULT = "result.json"


class InvalidJob(StoreError):
    """A job id, or a name of a job's array, that cannot be one."""


class NoResult(StoreError):
    """A job has left no result, or no array of this name, in the store."""


class Runs:
    """The folder STORE/runs. What a job has put stays as it was put first, so that a chunk may run twice."""

    def __init__(self, root: Path) -> None:
        """`root` is the store's folder."""
        self._folder = root / "runs"

    def put_result(self, job: str, result: Mapping[str, Any] | msgspec.Struct) -> bool:
        """Store a job's result as JSON; False where it has one already, which stays."""
        data = msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
        return publish(self._job(job) / RESULT, data)

    def get_result(self, job: str) -> dict[str, Any]:
        """The job's result. Raises NoResult."""
        path = self._job(job) / RESULT
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            raise NoResult(f"job {job} has no result in the store\n  try: jdq status {job}") from None
        except msgspec.MsgspecError as error:
            raise NoResult(f"the result of job {job} is damaged: {path}: {error}") from None

    def put_array(self, job: str, name: str, array: np.ndarray) -> bool:
        """Store a named array of a job; False where one stands already, which stays. ValueError for objects."""
        image = io.BytesIO()
        np.save(image, np.ascontiguousarray(array), allow_pickle=False)
        return publish(self._array(job, name), image.getbuffer())

    def get_array(self, job: str, name: str) -> np.ndarray:
        """The array, memory-mapped and read-only. Raises NoResult."""
        path = self._array(job, name)
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise NoResult(f"job {job} has no array {name!r} in the store\n  try: jdq status {job}") from None
        except (ValueError, EOFError, OSError) as error:
            raise NoResult(f"array {name!r} of job {job} is damaged: {path}: {error}") from None
        return array

    def jobs(self) -> list[str]:
        """The ids of all jobs that left something, sorted."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if JOB.fullmatch(path.name))

    def remove(self, job: str) -> None:
        """Take away all that a job left; nothing happens where it left nothing."""
        shutil.rmtree(self._job(job), ignore_errors=True)

    def _job(self, job: str) -> Path:
        if not JOB.fullmatch(job):
            raise InvalidJob(f"{job[:80]!r} cannot be a job id")
        return self._folder / job

    def _array(self, job: str, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InvalidJob(f"{name[:80]!r} cannot be an array's name: lower-case letters, digits, '_' and '-'")
        return self._job(job) / f"{name}.npy"
