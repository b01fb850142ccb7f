"""What a model's files say about its encoder before the network is built: its sizes and its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jdq.worker.encoder import fingerprint
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.folder import read_config
from jdq.worker.encoder.shape import BartShape, encoder_tensors
from jdq.worker.encoder.sizes import check_sizes
from jdq.worker.encoder.weights import StoredTensor, Weights

if TYPE_CHECKING:
    from torch import nn

# These count positions from padding_idx + 1, so the first rows of their position table go unused.
POSITIONS_AFTER_PADDING = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "mpnet", "longformer", "esm"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """An encoder as its files describe it. `shape` is None if the packed path does not know the structure.

    `architecture` is everything that the tensors do not say; `positions` is None if positions are relative;
    `tensors` are only the encoder's, by their names inside it.
    """

    architecture: str
    dim: int
    vocabulary: int
    positions: int | None
    tensors: Mapping[str, StoredTensor]
    shape: BartShape | None


def read_structure(folder: Path) -> Structure:
    """The structure of the text encoder in a model's folder. Raises UnsupportedEncoder and DamagedEncoder."""
    config, weights = read_config(folder), Weights(folder)
    check_sizes(config, weights)
    shape = BartShape.of(config)
    tensors = encoder_tensors(weights, shape) if shape is not None else None
    if shape is None or tensors is None:
        return _any_structure(folder, config, weights)
    return Structure(
        architecture=shape.architecture(),
        dim=shape.dim,
        vocabulary=shape.vocab_size,
        positions=shape.max_length,
        tensors=tensors,
        shape=shape,
    )


def _any_structure(folder: Path, config: Mapping[str, Any], weights: Weights) -> Structure:
    """The structure of any encoder that `AutoModel` loads, from a model without memory for its weights."""
    from jdq.worker.encoder.plain import (
        load_network,
        names_inside,
        skeleton,
    )  # torch: a BART needs none

    network, encoder = skeleton(folder)
    full: Any = network.config
    dim = getattr(full, "hidden_size", None)
    if not isinstance(dim, int):
        raise UnsupportedEncoder(f"{full.model_type} does not give the width of its hidden states")
    tensors = _by_name(network, names_inside(network, encoder), weights)
    if tensors is None:  # stored under names that only transformers can translate
        tensors = _loaded(load_network(folder))
    return Structure(
        architecture=f"{full.model_type} {fingerprint.of_config(config)}",
        dim=dim,
        vocabulary=full.vocab_size,
        positions=_positions(full),
        tensors=tensors,
        shape=None,
    )


def _positions(config: Any) -> int | None:
    """How many tokens an encoder's position table holds."""
    rows = getattr(config, "max_position_embeddings", None)
    if not isinstance(rows, int) or rows < 1:
        return None
    if config.model_type in POSITIONS_AFTER_PADDING:
        return rows - (config.pad_token_id or 0) - 1
    return rows


def _by_name(network: Any, names: Mapping[str, str], weights: Weights) -> dict[str, StoredTensor] | None:
    """The tensors in the files under the model's own names, or None if one is not."""
    tensors = {}
    for name, inside in names.items():
        spellings = [name, f"{network.base_model_prefix}.{name}"]
        if inside == "embed_tokens.weight":  # T5's, shared with its decoder
            spellings += ["shared.weight", f"{network.base_model_prefix}.shared.weight"]
        stored = next((weights[spelling] for spelling in spellings if spelling in weights), None)
        if stored is None:
            return None
        tensors[inside] = stored
    return tensors


def _loaded(encoder: nn.Module) -> dict[str, StoredTensor]:
    from jdq.worker.encoder.plain import names_inside

    state = {name: encoder.state_dict()[name].contiguous().numpy() for name in names_inside(encoder, encoder)}
    return {
        name: StoredTensor(dtype="F32", shape=array.shape, data=memoryview(array).cast("B"))
        for name, array in state.items()
    }
