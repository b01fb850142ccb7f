"""The shape of a BART encoder: what its config says, and the tensors that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jdq.worker.encoder.weights import StoredTensor

# BartConfig's own defaults, for configs that leave them out.
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 50265,
    "d_model": 1024,
    "encoder_layers": 12,
    "encoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "max_position_embeddings": 1024,
    "activation_function": "gelu",
    "scale_embedding": False,
}
ACTIVATIONS = ("gelu", "relu")
POSITION_OFFSET = 2  # BART's position table starts with two rows that no text uses


@dataclass(frozen=True, slots=True, kw_only=True)
class BartShape:
    """Sizes and switches of one BART or mBART encoder. `pre_norm` is mBART's order: norm, then attention."""

    model_type: str
    vocab_size: int
    dim: int
    layers: int
    heads: int
    ffn_dim: int
    max_length: int
    activation: str
    embed_scale: float
    pre_norm: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> BartShape | None:
        """The shape that a config.json describes, or None if the packed path does not know it."""
        if config["model_type"] not in ("bart", "mbart"):
            return None
        value = {name: config.get(name, default) for name, default in DEFAULTS.items()}
        sizes = [v for name, v in value.items() if name not in ("activation_function", "scale_embedding")]
        if any(not isinstance(size, int) or size < 1 for size in sizes):
            return None
        if value["activation_function"] not in ACTIVATIONS or value["d_model"] % value["encoder_attention_heads"]:
            return None
        return cls(
            model_type=config["model_type"],
            vocab_size=value["vocab_size"],
            dim=value["d_model"],
            layers=value["encoder_layers"],
            heads=value["encoder_attention_heads"],
            ffn_dim=value["encoder_ffn_dim"],
            max_length=value["max_position_embeddings"],
            activation=value["activation_function"],
            embed_scale=math.sqrt(value["d_model"]) if value["scale_embedding"] else 1.0,
            pre_norm=config["model_type"] == "mbart",
        )

    def architecture(self) -> str:
        """What the tensors do not show, as a string for the feature space."""
        return (
            f"{self.model_type}-encoder layers={self.layers} heads={self.heads} "
            f"activation={self.activation} embed_scale={self.embed_scale:g}"
        )

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the encoder."""
        d, f = self.dim, self.ffn_dim
        shapes: dict[str, tuple[int, ...]] = {
            "embed_tokens.weight": (self.vocab_size, d),
            "embed_positions.weight": (self.max_length + POSITION_OFFSET, d),
            "layernorm_embedding.weight": (d,),
            "layernorm_embedding.bias": (d,),
        }
        if self.pre_norm:
            shapes |= {"layer_norm.weight": (d,), "layer_norm.bias": (d,)}
        for i in range(self.layers):
            for linear, out, inside in (
                *((f"self_attn.{name}_proj", d, d) for name in "qkv"),
                ("self_attn.out_proj", d, d),
                ("fc1", f, d),
                ("fc2", d, f),
            ):
                shapes[f"layers.{i}.{linear}.weight"] = (out, inside)
                shapes[f"layers.{i}.{linear}.bias"] = (out,)
            for norm in ("self_attn_layer_norm", "final_layer_norm"):
                shapes |= {f"layers.{i}.{norm}.{part}": (d,) for part in ("weight", "bias")}
        return shapes


def encoder_tensors(weights: Mapping[str, StoredTensor], shape: BartShape) -> dict[str, StoredTensor] | None:
    """The encoder's tensors by their names inside the encoder, or None if the files hold anything else.

    BartModel, BartForSequenceClassification and BartForConditionalGeneration name the same tensors differently and
    share the token embedding with the decoder under several names. Exactly the expected tensors must be there, in
    the expected shapes: an unknown extra one may be an adapter that changes the numbers.
    """
    mark = "encoder.layers.0.fc1.weight"
    roots = [name.removesuffix(mark) for name in weights if name == mark or name.endswith("." + mark)]
    if len(roots) != 1:
        return None
    prefix = roots[0] + "encoder."
    tensors = {name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)}
    tensors.pop("version", None)
    if not _complete_embedding(tensors, weights, roots[0]):
        return None
    expected = shape.tensors()
    if tensors.keys() != expected.keys() or any(tensors[name].shape != expected[name] for name in expected):
        return None
    return tensors


def _complete_embedding(tensors: dict[str, StoredTensor], weights: Mapping[str, StoredTensor], root: str) -> bool:
    """Add a token embedding that is stored under a shared name; False if two names disagree."""
    own, shared = tensors.get("embed_tokens.weight"), weights.get(root + "shared.weight")
    if own is not None and shared is not None:
        return own.dtype == shared.dtype and own.data == shared.data
    if shared is not None:
        tensors["embed_tokens.weight"] = shared
    return True
