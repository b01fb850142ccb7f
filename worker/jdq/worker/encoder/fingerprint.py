"""Fingerprints: digests of everything in the weights and the tokenizer that affects features, and of nothing else.

The same encoder in another kind of folder (with a decoder, with a classifier, in shards, under other names) has the
same fingerprint; one changed number gives another one.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jdq.worker.encoder.weights import StoredTensor

DIGEST_BYTES = 16

# Keys of a config.json that do not affect the numbers of an encoder in evaluation mode.
WITHOUT_EFFECT = frozenset(
    {
        "architectures",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "_name_or_path",
        "name_or_path",
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "use_cache",
        "finetuning_task",
        "task_specific_params",
        "gradient_checkpointing",
        "tie_word_embeddings",
        "tie_encoder_decoder",
        "output_past",
        "torchscript",
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "init_std",
        "initializer_range",
        "initializer_factor",
    }
)


def of_weights(tensors: Mapping[str, StoredTensor]) -> str:
    """Digest of names, dtypes, shapes and bytes, 32 hexadecimal digits; the order of the mapping does not matter."""
    combined = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        for part in pool.map(lambda name: _of_tensor(name, tensors[name]), sorted(tensors)):
            combined.update(part)
    return combined.hexdigest()


def _of_tensor(name: str, tensor: StoredTensor) -> bytes:
    described = f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode()
    return described + hashlib.blake2b(tensor.data, digest_size=DIGEST_BYTES).digest()


def of_tokenizer(behaviour: str) -> str:
    """Digest of a tokenizer's own description of all its steps, as JSON; its formatting does not matter."""
    spelled = json.dumps(json.loads(behaviour), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(spelled.encode(), digest_size=DIGEST_BYTES).hexdigest()


def of_config(config: Mapping[str, Any]) -> str:
    """Short digest of what affects the numbers in a config.json: without labels, versions and dropout."""
    effective = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT and "dropout" not in key}
    return hashlib.blake2b(json.dumps(effective, sort_keys=True).encode(), digest_size=6).hexdigest()
