"""Runs in a worker's image: ``check_features.py DATASET ENCODER_FOLDER``. Ends with an error where a feature is wrong.

The reference is Hugging Face's own encoder, one text at a time, at position 0.
"""

import random
import sys

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from jdq.store.store import open_store

SAMPLE = 200


def main(dataset: str, encoder: str) -> None:
    """Compares a sample of the rows, and all rows that repeat a text with each other."""
    features, _, texts = open_store().load(dataset)
    assert len(features) == len(texts) > 0
    assert np.isfinite(features).all()
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        assert (features[row] == features[first.setdefault(text, row)]).all(), f"row {row} differs from its twin"
    assert len(np.unique(features, axis=0)) == len(first), "different texts have equal features"
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    network = AutoModel.from_pretrained(encoder).get_encoder().eval()
    worst = 0.0
    for row in random.Random(0).sample(range(len(texts)), min(SAMPLE, len(texts))):
        tokens = tokenizer(texts[row], return_tensors="pt", truncation=True, max_length=1024, split_special_tokens=True)
        with torch.no_grad():
            expected = network(**tokens).last_hidden_state[0, 0].numpy()
        worst = max(worst, float(np.abs(features[row] - expected).max() / np.abs(expected).max()))
    assert worst < 2e-3, f"a feature differs from Hugging Face's by {worst:.2e} of its largest value"
    print(f"{len(texts)} rows, {len(first)} texts; largest difference {worst:.1e}")  # noqa: T201 - its output


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
