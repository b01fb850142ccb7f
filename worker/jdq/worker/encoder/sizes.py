"""The sizes that a model's config claims, checked against its weights before a network is built from them."""

from collections.abc import Iterator, Mapping
from typing import Any

from jdq.worker.encoder.errors import DamagedEncoder
from jdq.worker.encoder.weights import Weights

# Words in the names of counts by which modules are built, each of which has its own tensors.
COUNTED = ("layer", "block", "group", "expert", "stage")
PLAUSIBLE_COUNT = 1_000  # built in seconds, whatever the weights hold
SIZES = ("size", "dim", "position", "d_model", "d_ff", "n_embd")
PLAUSIBLE_SIZE = 2**24  # the largest vocabularies have a million rows


def check_sizes(config: Mapping[str, Any], weights: Weights) -> None:
    """Raises DamagedEncoder if the config claims sizes that its weights cannot have, such as ten million layers."""
    most = max(PLAUSIBLE_COUNT, len(weights))
    rows = max((extent for tensor in weights.values() for extent in tensor.shape), default=0)
    for name, value in _numbers(config):
        if any(word in name for word in COUNTED) and value > most:
            raise DamagedEncoder(f"config.json claims {name} = {value:,}, but the weights are {len(weights):,} tensors")
        if any(word in name for word in SIZES) and value > max(PLAUSIBLE_SIZE, rows):
            raise DamagedEncoder(f"config.json claims {name} = {value:,}, but no weight has more than {rows:,} rows")


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The whole numbers of a config and of the configs inside it."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, int):
            yield name, value
