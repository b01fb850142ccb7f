"""The network that is fine-tuned: Hugging Face's sequence classifier over the encoder's weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from jdq.worker.encoder.errors import DamagedEncoder
from jdq.worker.encoder.folder import read_config
from jdq.worker.encoder.quiet import quiet_transformers
from jdq.worker.encoder.sizes import check_sizes
from jdq.worker.encoder.weights import Weights
from jdq.worker.finetune.errors import BadOption
from jdq.worker.finetune.lora import add_low_rank
from jdq.worker.finetune.options import FineTuneOptions


def load_classifier(folder: Path, classes: tuple[str, ...], *, multi_label: bool, seed: int) -> Any:
    """AutoModelForSequenceClassification with one output per class; a new classifier is initialized by the seed.

    Reads only safetensors and runs no code from the folder. Raises DamagedEncoder.
    """
    from transformers import AutoModelForSequenceClassification

    check_sizes(read_config(folder), Weights(folder))
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        try:
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder,
                num_labels=len(classes),
                id2label=dict(enumerate(classes)),
                label2id={name: i for i, name in enumerate(classes)},
                problem_type="multi_label_classification" if multi_label else "single_label_classification",
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise DamagedEncoder(f"{folder} cannot be loaded as a classifier: {error}") from error
    # Without this, the decoder that a T5EncoderModel lacks would be trained from random weights.
    missing = [
        name for name in loading["missing_keys"] if name.startswith(model.base_model_prefix) and "pooler" not in name
    ]
    if missing:
        raise DamagedEncoder(
            f"{folder} lacks {len(missing)} weights of a {type(model).__name__}, such as {min(missing)}"
        )
    model.config.use_cache = False
    return model


def restrict(model: Any, options: FineTuneOptions) -> None:
    """Freezes the weights that the options exclude from training. Raises BadOption."""
    if options.lora is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            add_low_rank(model, options.lora)
    elif options.freeze == "encoder":
        _encoder(model).requires_grad_(False)
        _embeddings(model).requires_grad_(False)
    elif options.freeze != "none":
        _freeze_first(model, int(options.freeze))


def _freeze_first(model: Any, count: int) -> None:
    layers = next((m for m in _encoder(model).modules() if isinstance(m, nn.ModuleList)), None)
    if layers is None or count > len(layers):
        known = "an encoder without layers that jdq knows" if layers is None else f"{len(layers)} layers"
        raise BadOption(f"--freeze {count}: the model has {known}")
    _embeddings(model).requires_grad_(False)
    for layer in list(layers)[:count]:
        layer.requires_grad_(False)


def _encoder(model: Any) -> nn.Module:
    """BART's encoder, or everything below the classifier if there is no decoder."""
    base = getattr(model, model.base_model_prefix)
    encoder: nn.Module = base.get_encoder() if model.config.is_encoder_decoder else base
    return encoder


def _embeddings(model: Any) -> nn.Module:
    embeddings: nn.Module = model.get_input_embeddings()
    return embeddings


def forward_logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """(texts, classes) logits in float32."""
    logits: torch.Tensor = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    return logits.float()
