"""From an encoder's name to an encoder in memory."""

from __future__ import annotations

from pathlib import Path

import torch

from jdq.worker.encoder.budget import CPU_TOKENS, TokenBudget
from jdq.worker.encoder.encoder import Encoder
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.folder import find_folder
from jdq.worker.encoder.identity import Files, read_files
from jdq.worker.encoder.lanes import Network
from jdq.worker.encoder.packed import PackedBart
from jdq.worker.encoder.plain import PlainEncoder, load_network


def load_encoder(
    name: str, *, max_length: int | None = None, precision: str = "float32", device: str = "cpu"
) -> Encoder:
    """Load the encoder `name`, a folder or a hub name.

    `precision` is that of the arithmetic: "float32", "bfloat16" or, for BART on CUDA, "float8"; `device` is "cpu",
    "cuda" or "cuda:N". BART and mBART take the packed path, all else the plain one. Raises EncoderError.
    """
    return build_encoder(read_files(find_folder(name), max_length=max_length, precision=precision), device=device)


def build_encoder(files: Files, *, device: str) -> Encoder:
    """Put the network of files that were read on a device."""
    if files.identity.precision == "float8" and not device.startswith("cuda"):
        raise UnsupportedEncoder(f"float8 needs a CUDA device, not {device}\n  try: --precision float32")
    packed = files.structure.shape is not None
    network = _packed(files, device) if packed else _plain(files, device)
    return Encoder(
        identity=files.identity,
        path="packed" if packed else "plain",
        network=network,
        tokenizer=files.tokenizer,
        budget=TokenBudget.for_device(device, dim=files.identity.dim),
    )


def default_device() -> str:
    """ "cuda" where PyTorch sees a usable GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def default_precision(device: str) -> str:
    """bfloat16 on a GPU, because fp16 arithmetic overflows in BART; float32 on a CPU."""
    return "bfloat16" if device.startswith("cuda") else "float32"


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that a folder's files were changed: name, size and time of each."""
    found = [(entry.name, entry.stat()) for entry in folder.iterdir() if entry.is_file()]
    return tuple(sorted((name, info.st_size, info.st_mtime_ns) for name, info in found))


def _packed(files: Files, device: str) -> Network:
    shape, tensors = files.structure.shape, files.structure.tensors
    assert shape is not None
    return PackedBart(
        shape,
        lambda name: tensors[name].load(),
        precision=files.identity.precision,
        device=device,
        rows=CPU_TOKENS,
    )


def _plain(files: Files, device: str) -> Network:
    return PlainEncoder(
        load_network(files.folder),
        pad_id=files.tokenizer.pad_id,
        precision=files.identity.precision,
        device=device,
    )
