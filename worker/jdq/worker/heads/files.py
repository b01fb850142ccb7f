"""A head as one file: safetensors, with JSON in its header that records what made it. Nothing is ever unpickled.

The header's metadata holds `format`, `format_version`, `head` (JSON: the record and the predictor's settings) and
`digest` (of the JSON and of every array), so that a flipped bit is detected before anything is predicted.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jdq.worker.heads.errors import DamagedHead, UnsafeHead, WrongFeatures
from jdq.worker.heads.head import TrainedHead
from jdq.worker.heads.predictors import LayersPredictor, Predictor
from jdq.worker.heads.record import HeadRecord

FORMAT, VERSION = "jdq-head", "1"
MAX_FILE_BYTES = 16 << 30

Arrays = Mapping[str, npt.NDArray[Any]]


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    predictor: str
    settings: dict[str, Any]
    record: HeadRecord


def save_head(head: TrainedHead) -> bytes:
    """The file's bytes, for `jdq.store.files.publish.publish`."""
    predictor = head.predictor
    content = _Content(predictor=predictor.kind, settings=predictor.settings(), record=head.record)
    text = msgspec.json.encode(content).decode()
    arrays = {name: np.ascontiguousarray(array) for name, array in predictor.arrays().items()}
    metadata = {"format": FORMAT, "format_version": VERSION, "head": text, "digest": _digest(text, arrays)}
    data: bytes = save(dict(arrays), metadata=metadata)
    return data


def load_head(path: Path, *, space: str | None = None) -> TrainedHead:
    """The head of a file that may come from anywhere.

    Raises DamagedHead, UnsafeHead, and WrongFeatures if `space` (a digest) is not the head's feature space.
    """
    metadata, arrays = _read(path)
    content = _content(path, metadata, arrays)
    if space is not None:
        require_space(content.record, space)
    predictor = _predictor(content, arrays)
    record = content.record
    if predictor.dim != record.dim or predictor.outputs != len(record.classes):
        raise DamagedHead(
            f"{path}: the arrays are of {predictor.dim} features and {predictor.outputs} classes, "
            f"the record says {record.dim} and {len(record.classes)}"
        )
    return TrainedHead(predictor=predictor, record=record)


def read_record(path: Path) -> HeadRecord:
    """The record in a head's file, checked as by `load_head`. Raises DamagedHead."""
    metadata, arrays = _read(path)
    return _content(path, metadata, arrays).record


def require_space(record: HeadRecord, space: str) -> None:
    """Raises WrongFeatures if the head was trained on features of another space."""
    if record.origin.space != space:
        trained = f"{record.origin.space[:12]} ({record.origin.encoder or 'encoder not named'})"
        raise WrongFeatures(
            f"the head was trained in the feature space {trained}; these features are of {space[:12]}\n"
            "  try: jdq submit extract with the head's own encoder, or train a head on these features"
        )


def _read(path: Path) -> tuple[dict[str, str], Arrays]:
    size = path.stat()
    if not stat.S_ISREG(size.st_mode) or size.st_size > MAX_FILE_BYTES:
        raise UnsafeHead(f"{path} is not a regular file of at most {MAX_FILE_BYTES >> 30} GiB")
    data = path.read_bytes()
    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    # For a type that numpy lacks, safetensors raises a KeyError or an AttributeError.
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedHead(f"{path} is not a complete safetensors file: {error}") from error
    metadata = header.get("__metadata__") or {}
    if metadata.get("format") != FORMAT:
        raise DamagedHead(f"{path} is not a head of jdq: its format is {metadata.get('format')!r}")
    if metadata.get("format_version") != VERSION:
        raise DamagedHead(
            f"{path} is a head of format version {metadata.get('format_version')!r}; this jdq reads {VERSION}\n"
            "  try: a newer jdq"
        )
    return metadata, arrays


def _content(path: Path, metadata: dict[str, str], arrays: Arrays) -> _Content:
    text = metadata.get("head", "")
    if metadata.get("digest") != _digest(text, arrays):
        raise DamagedHead(f"{path} was altered or damaged: its content is not what its digest says")
    try:
        return msgspec.json.decode(text, type=_Content)
    except msgspec.MsgspecError as error:
        raise DamagedHead(f"{path}: the head's record cannot be read: {error}") from error


def _predictor(content: _Content, arrays: Arrays) -> Predictor:
    if content.predictor == "layers":
        return LayersPredictor.from_arrays(arrays, content.settings)
    if content.predictor == "hybrid":
        from jdq.worker.heads.hybrid_predictor import HybridPredictor

        return HybridPredictor.from_arrays(arrays, content.settings)
    if content.predictor == "estimator":
        # Imported here, so that a head of layers loads without scikit-learn's estimators and skops.
        from jdq.worker.heads.estimators import EstimatorPredictor

        return EstimatorPredictor.from_arrays(arrays, content.settings)
    raise DamagedHead(f"this version of jdq has no predictor {content.predictor!r}\n  try: a newer jdq")


def _digest(text: str, arrays: Arrays) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=32)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
