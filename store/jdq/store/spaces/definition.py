"""The definition of a feature space: all that changes the features' numbers, and nothing else."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec


class FeatureSpace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two features can be compared, and one text's feature be reused, only within one feature space.

    `weights` and `tokenizer` are fingerprints of files' contents, not names: a folder whose weights change is another
    space. `dim` counts columns, `max_length` tokens.
    """

    architecture: str
    weights: str
    tokenizer: str
    pooling: str
    max_length: int
    cutting: str
    storage_dtype: Literal["float16", "float32"]
    precision: str
    dim: int
    definition: int

    def __post_init__(self) -> None:
        if self.dim < 1 or self.max_length < 1 or self.definition < 1:
            raise ValueError(
                f"a feature space has dim, max_length and definition of at least 1, "
                f"not {self.dim}, {self.max_length}, {self.definition}"
            )

    def canonical_json(self) -> bytes:
        """One spelling for one definition: sorted names, no blanks, UTF-8."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def digest(self) -> str:
        """blake2b-128 of the canonical JSON, 32 hexadecimal digits: the name of the space's folder."""
        return hashlib.blake2b(self.canonical_json(), digest_size=16).hexdigest()
