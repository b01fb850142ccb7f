"""The plain path: any text encoder that `AutoModel` loads, padded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jdq.worker.encoder.batch import Batch
from jdq.worker.encoder.budget import CPU_INT8_TOKENS
from jdq.worker.encoder.errors import DamagedEncoder, UnsafeWeights, UnsupportedEncoder
from jdq.worker.encoder.layout import place
from jdq.worker.encoder.linear import Int8Linear, dtype_of
from jdq.worker.encoder.options import CLS
from jdq.worker.encoder.quiet import quiet_transformers

# Parts of an encoder that its last hidden state does not depend on; checkpoints often lack them.
WITHOUT_EFFECT = ("pooler.",)


class PlainEncoder:
    """A Hugging Face encoder that gives each text's last hidden state at position 0, or the mean of all its states."""

    padded = True

    def __init__(
        self, network: nn.Module, *, pad_id: int, precision: str, device: str, poolings: Sequence[str] = (CLS,)
    ) -> None:
        if precision == "int8":
            _quantise(network)
        self._network = network.to(device=device, dtype=dtype_of(precision)).eval().requires_grad_(False)
        self._pad_id = pad_id
        self._poolings = tuple(poolings)
        self.device = device
        quantized = [module for module in network.modules() if isinstance(module, _Int8Module)]
        self.size_bytes = sum(tensor.nbytes for tensor in self._network.state_dict().values())
        self.size_bytes += sum(module.size_bytes for module in quantized)

    def pooled(self, batch: Batch) -> Tensor:
        """(texts, poolings x dim), on the device, in the order of the batch: the poolings are side by side."""
        ids, mask = (place(part, self.device) for part in self._pad(batch))
        with torch.inference_mode():
            states: Tensor = self._network(input_ids=ids, attention_mask=mask).last_hidden_state
            parts = [states[:, 0].float() if name == CLS else _means(states, mask) for name in self._poolings]
            return torch.cat(parts, dim=1)

    def _pad(self, batch: Batch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Ids (texts, longest), padded on the right, and the mask, 1 for text and 0 for padding."""
        shape = (len(batch.lengths), int(batch.lengths.max()))
        mask = np.arange(shape[1]) < batch.lengths[:, None]
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        ids[mask] = batch.ids
        return ids, mask.astype(np.int64)


class _Int8Module(nn.Module):
    """Replaces a linear layer: (..., inside) -> (..., outside)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
        self._linear = Int8Linear(linear.weight.detach(), bias, "relu", rows=CPU_INT8_TOKENS)
        self.size_bytes = self._linear.size_bytes
        self.weight = torch.empty(0)  # T5 reads its dtype

    def forward(self, x: Tensor) -> Tensor:
        return self._linear(x.flatten(0, -2)).view(*x.shape[:-1], -1)


def _quantise(network: nn.Module) -> None:
    """Replaces all linear layers of a network in float32."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _Int8Module(child))


def _means(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of each text's states, padding left out: (texts, dim) float32."""
    weights = mask.float()[:, :, None]
    return (states.float() * weights).sum(1) / weights.sum(1)


def load_network(folder: Path) -> nn.Module:
    """The encoder of a model's folder, in float32. Raises if a weight that matters is missing from its files."""
    from transformers import AutoModel

    network, info = _loading(AutoModel.from_pretrained)(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    encoder = encoder_of(network)
    names = names_inside(network, encoder)
    bad = [*info["missing_keys"], *(entry[0] for entry in info.get("mismatched_keys", ()))]
    missing = [name for name in bad if name in names]
    if missing:
        raise DamagedEncoder(
            f"{folder} lacks {len(missing)} weights of the encoder, or has them in another shape, such as {missing[0]}"
        )
    return encoder


def skeleton(folder: Path) -> tuple[nn.Module, nn.Module]:
    """The model of a folder's config and its encoder, without memory for any weight."""
    from transformers import AutoConfig, AutoModel

    config = _loading(AutoConfig.from_pretrained)(folder, trust_remote_code=False, local_files_only=True)
    if not isinstance(getattr(config, "vocab_size", None), int):
        raise UnsupportedEncoder(f"{folder} is a {config.model_type} model, which does not read text")
    if _is_decoder(config):
        raise UnsupportedEncoder(f"{config.model_type} is a decoder: its position 0 sees only itself")
    with torch.device("meta"):
        network = _loading(AutoModel.from_config)(config, trust_remote_code=False)
    return network, encoder_of(network)


def _is_decoder(config: Any) -> bool:
    """Whether each position sees only those before it, as in models for generation."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    causal_only = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return bool(getattr(config, "is_decoder", False)) or (causal_only and not config.is_encoder_decoder)


def encoder_of(network: Any) -> nn.Module:
    """The text encoder of an `AutoModel`: half of an encoder-decoder, else all of it."""
    # A `T5EncoderModel` is saved with is_encoder_decoder false, and loaded as a T5Model with both halves.
    halved = network.config.is_encoder_decoder or hasattr(network, "decoder")
    encoder: Any = network.get_encoder() if halved else network
    kind = network.config.model_type
    if getattr(encoder, "main_input_name", "input_ids") != "input_ids":
        raise UnsupportedEncoder(f"{kind} reads {encoder.main_input_name}, not text")
    if not isinstance(encoder, nn.Module):
        raise UnsupportedEncoder(f"{kind} has no encoder that jdq knows")
    return encoder


def names_inside(network: nn.Module, encoder: nn.Module) -> Mapping[str, str]:
    """The encoder's weights that reach its last hidden state: name in the complete model -> name in the encoder."""
    prefix = next(name for name, module in network.named_modules() if module is encoder)
    prefix = prefix and prefix + "."
    names = [name for name in encoder.state_dict() if not name.startswith(WITHOUT_EFFECT)]
    return {prefix + name: name for name in names}


def _loading(load: Any) -> Any:
    """`load`, with its errors about the folder turned into this package's."""

    def loaded(source: Any, **options: Any) -> Any:
        try:
            with quiet_transformers():
                return load(source, **options)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
            if "trust_remote_code" in str(error):
                raise UnsafeWeights(f"{source} needs its own code, which jdq never runs") from error
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UnsupportedEncoder(f"transformers cannot load this model: {first}") from error

    return loaded
