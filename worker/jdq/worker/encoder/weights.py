"""Tensors read straight from safetensors files: mapped, checked against the file's size, never unpickled."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jdq.worker.encoder.errors import DamagedEncoder
from jdq.worker.encoder.folder import WEIGHTS, WEIGHTS_INDEX

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One tensor as stored. `data` is a view of the mapped file."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def load(self) -> torch.Tensor:
        """A float32 copy, whatever floating dtype is stored."""
        import torch

        dtypes = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        if self.dtype not in dtypes:
            raise DamagedEncoder(f"a weight is stored as {self.dtype}; expected one of {', '.join(dtypes)}")
        if not self.data.nbytes:
            return torch.empty(self.shape)
        flat = torch.frombuffer(bytearray(self.data), dtype=dtypes[self.dtype])
        return flat.reshape(self.shape).to(torch.float32)


class Weights(Mapping[str, StoredTensor]):
    """All tensors of a model's folder, by the names that its files give them."""

    def __init__(self, folder: Path) -> None:
        self._tensors: dict[str, StoredTensor] = {}
        for path in _weight_files(folder):
            self._tensors.update(_read_file(path))

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder; those that an index names must be plain names beside it."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / WEIGHTS_INDEX
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DamagedEncoder(f"{index} is not an index of weights: {error!r}") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise DamagedEncoder(f"{index} names {name!r}, which is not a safetensors file beside it")
        if not (folder / name).is_file():
            raise DamagedEncoder(f"{folder} lacks {name}, which {WEIGHTS_INDEX} names: the download is incomplete")
    return [folder / name for name in names]


def _read_file(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < 8:
            raise DamagedEncoder(f"{path} is not a safetensors file: it has {size} bytes")
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    length = int.from_bytes(mapped[:8], "little")
    if length > min(size - 8, MAX_HEADER_BYTES):
        raise DamagedEncoder(f"{path} is not a safetensors file, or was truncated: its header claims {length} bytes")
    try:
        header = json.loads(bytes(mapped[8 : 8 + length]))
        entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        return {name: _tensor(mapped[8 + length :], entry) for name, entry in entries}
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedEncoder(f"{path} is not a complete safetensors file: {error}") from error


def _tensor(body: memoryview, entry: Mapping[str, Any]) -> StoredTensor:
    """Raises ValueError if the entry's place and shape do not match each other or the file."""
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    expected = ITEM_BYTES.get(entry["dtype"], 0)
    for extent in shape:
        expected *= extent
    if not 0 <= start <= end <= len(body) or (entry["dtype"] in ITEM_BYTES and end - start != expected):
        raise ValueError(f"a tensor of shape {shape} is at bytes {start} to {end} of {len(body)}")
    return StoredTensor(dtype=entry["dtype"], shape=shape, data=body[start:end])
