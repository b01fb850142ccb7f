"""The definition of a feature space: everything that changes a feature's numbers, and nothing else."""

from typing import Literal

import msgspec

from jdq.store.files.digests import digest_of


class FeatureSpace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Features can be compared, and a text's feature be reused, only within one feature space.

    `weights` and `tokenizer` are fingerprints of file contents, not names: other weights are another space, even in the
    same folder. `cutting` says how long texts are truncated. `dim` counts columns, `max_length` tokens.
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
        """The one spelling of a definition: sorted names, no blanks, UTF-8."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def digest(self) -> str:
        """blake2b-128 of the canonical JSON, 32 hexadecimal digits: the name of the space's folder."""
        return digest_of(self.canonical_json())
