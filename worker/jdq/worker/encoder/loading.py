"""From an encoder's name to an encoder in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from jdq.worker.encoder.batch import pack
from jdq.worker.encoder.budget import CPU_TOKENS, TokenBudget
from jdq.worker.encoder.encoder import Encoder
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.folder import find_folder
from jdq.worker.encoder.forward_pool import Network
from jdq.worker.encoder.identity import Files, read_files
from jdq.worker.encoder.packed import PackedBart
from jdq.worker.encoder.plain import PlainEncoder, load_network
from jdq.worker.encoder.tokens import Tokens
from jdq.worker.pooling import AUTO

LEAST_COSINE = 0.999  # what float8 must reach to be worth its speed
# Older cards emulate bfloat16, slower than float32, and have no float8 products.
LEAST_CAPABILITY = {"bfloat16": (8, 0), "float8": (8, 9)}


def load_encoder(
    name: str,
    *,
    max_length: int | None = None,
    precision: str = "float32",
    device: str = "cpu",
    poolings: Sequence[str] = (AUTO,),
) -> Encoder:
    """Load the encoder `name`, a folder or a hub name.

    `precision` is that of the arithmetic: "float32", "bfloat16" or, for BART on CUDA, "float8"; `device` is "cpu",
    "cuda" or "cuda:N"; `poolings` are computed in one pass. BART and mBART take the packed path, all others the plain
    one. Raises EncoderError.
    """
    files = read_files(find_folder(name), max_length=max_length, precision=precision, poolings=poolings)
    return build_encoder(files, device=device)


def build_encoder(files: Files, *, device: str) -> Encoder:
    """Put the network of a model's files on a device."""
    check_device(files, device)
    packed = files.structure.shape is not None
    precision = files.identity.precision
    network = _packed(files, device, precision) if packed else _plain(files, device)
    if packed and precision == "float8":
        check_float8(network, _packed(files, device, "bfloat16"), files.structure.vocabulary)
    return Encoder(
        identity=files.identity,
        path="packed" if packed else "plain",
        network=network,
        tokenizer=files.tokenizer,
        budget=TokenBudget.for_device(device, dim=files.identity.dim),
    )


def check_device(files: Files, device: str) -> None:
    """Raises UnsupportedEncoder where the device does not compute in this precision, or not with these sizes."""
    precision, shape = files.identity.precision, files.structure.shape
    if not device.startswith("cuda"):
        if precision == "float8":
            raise UnsupportedEncoder(f"float8 needs a CUDA device, not {device}\n  try: --precision float32")
        return
    least = LEAST_CAPABILITY.get(precision, (0, 0))
    capability = torch.cuda.get_device_capability(torch.device(device))
    if capability < least:
        raise UnsupportedEncoder(
            f"{precision} needs a GPU of compute capability {_dotted(least)}, not {_dotted(capability)}\n"
            f"  try: --precision {'bfloat16' if capability >= LEAST_CAPABILITY['bfloat16'] else 'float32'}"
        )
    if precision == "float8" and shape is not None and (shape.dim % 16 or shape.ffn_dim % 16):
        raise UnsupportedEncoder(
            f"float8 needs sizes that 16 divides, not {shape.dim} and {shape.ffn_dim}\n  try: --precision bfloat16"
        )


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def check_float8(float8: Network, bfloat16: Network, vocabulary: int) -> None:
    """Raises UnsupportedEncoder where float8 does not reach LEAST_COSINE to bfloat16 on texts of random words."""
    lengths = np.array([256, 64, 16, 4])
    ids = np.random.default_rng(0).integers(0, vocabulary, int(lengths.sum()), dtype=np.int32)
    counts = lengths.astype(np.uint32)
    batch = pack(Tokens(ids=ids, lengths=lengths, n_tokens=counts, n_unknown=0 * counts), np.arange(len(lengths)))
    states, expected = (network.pooled(batch).float() for network in (float8, bfloat16))
    cosine = float(torch.cosine_similarity(states, expected).min())
    if not cosine >= LEAST_COSINE:
        raise UnsupportedEncoder(
            f"in float8 this encoder's features have a cosine of only {cosine:.4f} to those in bfloat16, "
            f"less than {LEAST_COSINE}\n  try: --precision bfloat16"
        )


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What shows that a folder's files were changed: name, size and modification time of each."""
    found = [(entry.name, entry.stat()) for entry in folder.iterdir() if entry.is_file()]
    return tuple(sorted((name, info.st_size, info.st_mtime_ns) for name, info in found))


def _packed(files: Files, device: str, precision: str) -> Network:
    shape, tensors = files.structure.shape, files.structure.tensors
    assert shape is not None
    return PackedBart(
        shape,
        lambda name: tensors[name].load(),
        precision=precision,
        device=device,
        rows=CPU_TOKENS,
        poolings=files.identity.poolings,
    )


def _plain(files: Files, device: str) -> Network:
    return PlainEncoder(
        load_network(files.folder),
        pad_id=files.tokenizer.pad_id,
        precision=files.identity.precision,
        device=device,
        poolings=files.identity.poolings,
    )
