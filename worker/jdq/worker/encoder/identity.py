"""What an encoder's features depend on, derived from its files without building the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jdq.worker.encoder import fingerprint
from jdq.worker.encoder.errors import LimitTooLong, TokenizerMismatch, UnsupportedEncoder
from jdq.worker.encoder.folder import find_folder
from jdq.worker.encoder.options import AUTO, PRECISIONS
from jdq.worker.encoder.pooling import choose_poolings
from jdq.worker.encoder.shape import BartShape
from jdq.worker.encoder.structure import Structure, read_structure
from jdq.worker.encoder.tokens import TextTokenizer, load_tokenizer

if TYPE_CHECKING:
    from jdq.store.spaces.definition import FeatureSpace

DEFINITION = 1  # increases when jdq defines a feature differently, so that old and new ones do not mix
LIMIT_WITHOUT_POSITIONS = 512  # for encoders with relative positions, if the tokenizer names no limit
VOCABULARY_SLACK = 256  # models pad their vocabulary to round numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """All that changes an encoder's features before they are stored. `dim` is their width, `max_length` in tokens.

    There is a feature of `dim` columns per pooling.
    """

    architecture: str
    weights: str
    tokenizer: str
    max_length: int
    precision: str
    dim: int
    poolings: tuple[str, ...]

    def space(self, storage_dtype: str) -> FeatureSpace:
        """The feature space of the first pooling's features stored as "float16" or "float32"."""
        from jdq.store.spaces.definition import (
            FeatureSpace,  # imported here, so that the network runs without the store's packages
        )

        if storage_dtype not in ("float16", "float32"):
            raise ValueError(f"features are stored as float16 or float32, not {storage_dtype}")
        return FeatureSpace(
            architecture=self.architecture,
            weights=self.weights,
            tokenizer=self.tokenizer,
            pooling=self.poolings[0],
            max_length=self.max_length,
            cutting="right",
            storage_dtype="float16" if storage_dtype == "float16" else "float32",
            precision=self.precision,
            dim=self.dim,
            definition=DEFINITION,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A model's folder, read as far as its identity requires."""

    folder: Path
    structure: Structure
    tokenizer: TextTokenizer
    identity: Identity


def describe(
    name: str,
    *,
    max_length: int | None = None,
    precision: str = "float32",
    storage_dtype: str = "float16",
    pooling: str = AUTO,
) -> FeatureSpace:
    """The feature space of the encoder `name`, a folder or a hub name, without building the network.

    `max_length` None is the encoder's own limit, 1,024 tokens for BART. Reads and hashes the weights' files.
    """
    files = read_files(find_folder(name), max_length=max_length, precision=precision, poolings=(pooling,))
    return files.identity.space(storage_dtype)


def read_files(folder: Path, *, max_length: int | None, precision: str, poolings: Sequence[str] = (AUTO,)) -> Files:
    """Structure, tokenizer and identity of a model's folder. Raises EncoderError."""
    if precision not in PRECISIONS:
        raise UnsupportedEncoder(f"no precision {precision!r}; choose from: {', '.join(PRECISIONS)}")
    structure = read_structure(folder)
    if precision == "float8":
        _check_float8(structure.shape)
    tokenizer = load_tokenizer(folder)
    _check_vocabulary(folder, tokenizer, structure.vocabulary)
    identity = Identity(
        architecture=structure.architecture,
        weights=fingerprint.of_weights(structure.tensors),
        tokenizer=fingerprint.of_tokenizer(tokenizer.behaviour),
        max_length=_limit(max_length, structure.positions, tokenizer),
        precision=precision,
        dim=structure.dim,
        poolings=choose_poolings(folder, poolings).names,
    )
    return Files(folder=folder, structure=structure, tokenizer=tokenizer, identity=identity)


def _check_float8(shape: BartShape | None) -> None:
    """Raises UnsupportedEncoder if CUDA's float8 product does not take an encoder of this shape."""
    if shape is None:
        raise UnsupportedEncoder("float8 needs BART's packed path\n  try: --precision auto")
    if shape.dim % 16 or shape.ffn_dim % 16:
        raise UnsupportedEncoder(
            f"float8 needs sizes divisible by 16, not {shape.dim} and {shape.ffn_dim}\n  try: --precision bfloat16"
        )


def _limit(requested: int | None, positions: int | None, tokenizer: TextTokenizer) -> int:
    """The length to truncate at, in tokens. Raises LimitTooLong beyond the positions, or if no text is left."""
    own = min([limit for limit in (positions, tokenizer.limit) if limit is not None] or [LIMIT_WITHOUT_POSITIONS])
    if requested is None:
        return own
    if positions is not None and requested > positions:
        raise LimitTooLong(
            f"the encoder has positions for {positions} tokens, not {requested}\n  try: --max-length {own}"
        )
    if requested < tokenizer.least_length:
        raise LimitTooLong(
            f"{requested} tokens leave none for the text itself; at least {tokenizer.least_length} are needed"
        )
    return requested


def _check_vocabulary(folder: Path, tokenizer: TextTokenizer, model_size: int) -> None:
    """Raises if an id may be beyond the model's table, or the tokenizer has far too few entries."""
    too_few = model_size - max(VOCABULARY_SLACK, model_size // 50)
    if tokenizer.highest_id >= model_size or tokenizer.vocabulary_size < too_few:
        raise TokenizerMismatch(
            f"the tokenizer of {folder} has {tokenizer.vocabulary_size} entries, its model {model_size}: "
            "they do not belong together\n"
            "  save the model's own tokenizer beside it: AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)"
        )
