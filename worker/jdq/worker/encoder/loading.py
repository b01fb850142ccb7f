"""From an encoder's name to an encoder in memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from jdq.worker.encoder.batch import Batch, longest_first, pack
from jdq.worker.encoder.budget import CPU_TOKENS, TokenBudget
from jdq.worker.encoder.encoder import Encoder
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.folder import find_folder
from jdq.worker.encoder.forward_pool import Network
from jdq.worker.encoder.identity import Files, read_files
from jdq.worker.encoder.linear import bfloat16_is_faster, has_int8
from jdq.worker.encoder.options import AUTO, automatic_precision
from jdq.worker.encoder.packed import PackedBart
from jdq.worker.encoder.plain import PlainEncoder, load_network
from jdq.worker.encoder.tokenizer_process import in_processes
from jdq.worker.encoder.tokens import Tokens

LEAST_COSINE = 0.999  # what 8-bit precisions must reach to be worth their speed
CANARY_TEXTS = (
    "We are looking for a registered nurse for the night shift of our intensive care unit.",
    "Senior C++ engineer (m/f/d), remote: low-latency trading, Linux kernel, 5+ years; salary 90,000-120,000 EUR.",
    "Kellner gesucht! Gute Deutschkenntnisse, Arbeit am Wochenende, Unterkunft wird gestellt.",
    "JOB DUTIES\n- load and unload trucks\n- operate a forklift\n- keep the warehouse clean\n\nApply: jobs@example.com",
    "Driver",
)
REFERENCES = {"float8": "bfloat16", "int8": "float32"}  # what each of them is compared with
SWITCH_S = 0.0005  # after which a thread that starts a forward pass gets Python's lock from another; 0.005 by default
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

    `precision` is that of the arithmetic: one of PRECISIONS; `device` is "cpu",
    "cuda" or "cuda:N"; `poolings` are computed in one pass. BART and mBART take the packed path, all others the plain
    one. Raises EncoderError.
    """
    files = read_files(find_folder(name), max_length=max_length, precision=precision, poolings=poolings)
    return build_encoder(files, device=device)


def build_encoder(files: Files, *, device: str) -> Encoder:
    """Put the network of a model's files on a device."""
    check_device(files, device)
    precision = files.identity.precision
    network = _close_network(files, device, precision)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        sys.setswitchinterval(SWITCH_S)
    return Encoder(
        identity=files.identity,
        path="packed" if files.structure.shape is not None else "plain",
        network=network,
        tokenizer=in_processes(files.tokenizer) if on_gpu else files.tokenizer,
        budget=TokenBudget.for_device(device, dim=files.identity.dim, precision=precision),
    )


def _close_network(files: Files, device: str, precision: str) -> Network:
    """The fastest network whose features are close enough to those of the precision's reference, if it has one."""
    reference = REFERENCES.get(precision)
    if reference is None:
        return _network(files, device, precision)
    expected = _network(files, device, reference)
    for all_in_float8 in (True, False) if precision == "float8" else (True,):
        network = _network(files, device, precision, all_in_float8=all_in_float8)
        cosine = least_cosine(network, expected, files)
        if cosine >= LEAST_COSINE:
            return network
    raise UnsupportedEncoder(
        f"in {precision} this encoder's features have a cosine of only {cosine:.4f} to those in {reference}, "
        f"less than {LEAST_COSINE}\n  try: --precision {reference}"
    )


def fastest_precision(files: Files, device: str) -> str:
    """The fastest precision that this device computes and that keeps this encoder's features at LEAST_COSINE."""
    if device.startswith("cuda"):
        return automatic_precision(device)
    if has_int8() and _is_close(files, device, "int8"):
        return "int8"
    return "bfloat16" if bfloat16_is_faster() and _is_close(files, device, "bfloat16") else "float32"


def _is_close(files: Files, device: str, precision: str) -> bool:
    """Whether this precision keeps this encoder's features at LEAST_COSINE to float32's."""
    network, expected = (_network(files, device, each) for each in (precision, "float32"))
    return least_cosine(network, expected, files) >= LEAST_COSINE


def check_device(files: Files, device: str) -> None:
    """Raises UnsupportedEncoder where the device does not compute in this precision."""
    precision = files.identity.precision
    if not device.startswith("cuda"):
        if precision == "float8":
            raise UnsupportedEncoder(f"float8 needs a CUDA device, not {device}\n  try: --precision float32")
        if precision == "int8" and not has_int8():
            raise UnsupportedEncoder("int8 needs a CPU with VNNI instructions\n  try: --precision float32")
        return
    if precision == "int8":
        raise UnsupportedEncoder("int8 needs a CPU, not a GPU\n  try: --precision bfloat16")
    least = LEAST_CAPABILITY.get(precision, (0, 0))
    capability = torch.cuda.get_device_capability(torch.device(device))
    if capability < least:
        raise UnsupportedEncoder(
            f"{precision} needs a GPU of compute capability {_dotted(least)}, not {_dotted(capability)}\n"
            f"  try: --precision {'bfloat16' if capability >= LEAST_CAPABILITY['bfloat16'] else 'float32'}"
        )


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def least_cosine(network: Network, expected: Network, files: Files) -> float:
    """Over all texts and poolings, the least cosine of features to the expected ones.

    Measured on the canary texts and on random words. NaN where a feature is not finite.
    """
    cosines = []
    for batch in (_random_words(files.structure.vocabulary), _canary_texts(files)):
        rows, others = (each.pooled(batch).reshape(-1, files.identity.dim).float() for each in (network, expected))
        cosines.append(torch.cosine_similarity(rows, others))
    return float(torch.cat(cosines).min())


def _random_words(vocabulary: int) -> Batch:
    lengths = np.array([256, 64, 16, 4])
    ids = np.random.default_rng(0).integers(0, vocabulary, int(lengths.sum()), dtype=np.int32)
    counts = lengths.astype(np.uint32)
    return pack(Tokens(ids=ids, lengths=lengths, n_tokens=counts, n_unknown=0 * counts), np.arange(len(lengths)))


def _canary_texts(files: Files) -> Batch:
    tokens = files.tokenizer.tokenize(CANARY_TEXTS, files.identity.max_length)
    return pack(tokens, longest_first(tokens))


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What shows that a folder's files were changed: name, size and modification time of each."""
    files = [(entry.name, entry.stat()) for entry in folder.iterdir() if entry.is_file()]
    return tuple(sorted((name, info.st_size, info.st_mtime_ns) for name, info in files))


def _network(files: Files, device: str, precision: str, *, all_in_float8: bool = True) -> Network:
    shape, tensors = files.structure.shape, files.structure.tensors
    if shape is None:
        return _plain(files, device, precision)
    return PackedBart(
        shape,
        lambda name: tensors[name].load(),
        precision=precision,
        device=device,
        rows=CPU_TOKENS,
        poolings=files.identity.poolings,
        all_in_float8=all_in_float8,
    )


def _plain(files: Files, device: str, precision: str) -> Network:
    return PlainEncoder(
        load_network(files.folder),
        pad_id=files.tokenizer.pad_id,
        precision=precision,
        device=device,
        poolings=files.identity.poolings,
    )
