"""Classifies one text in this process.

``python -m jdq.worker.programs.predict_text HEAD_FILE|MODEL_FOLDER [--json] -- TEXT``
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import numpy as np

from jdq.store.store import open_store
from jdq.store.trained import Models
from jdq.worker.config import read_config
from jdq.worker.process.devices import device_of
from jdq.worker.queue.exit_codes import exit_on_error


def probabilities_of(text: str, trained: Path) -> dict[str, float]:
    """The probability of each class, most likely first, by a head's file or a fine-tuned model's folder."""
    classes, probabilities = _by_model(text, trained) if trained.is_dir() else _by_head(text, trained)
    pairs = zip(classes, probabilities[0].tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


def _by_head(text: str, head_file: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Computes the feature in the head's own feature space. Raises WrongFeatures where the encoder has changed."""
    from jdq.worker.encoder.by_name import load, space_of
    from jdq.worker.heads.files import load_head, require_space

    head = load_head(head_file)
    origin = head.record.origin
    config = read_config()
    store = open_store(config.store)
    definition = store.open_space(origin.space).definition
    name = Models(store.root).encoder(origin.encoder)
    length, precision, pooling = definition.max_length, definition.precision, definition.pooling
    current = space_of(
        name, max_length=length, precision=precision, storage_dtype=definition.storage_dtype, pooling=pooling
    )
    require_space(head.record, current.digest)
    device = device_of(config, "gpu")
    encoder = load(name, max_length=length, precision=precision, device=device, poolings=(pooling,))
    features = encoder.encode(encoder.tokenize([text])).astype(definition.storage_dtype)
    return head.classes, head.predict_proba(features)


def _by_model(text: str, folder: Path) -> tuple[tuple[str, ...], np.ndarray]:
    from jdq.worker.finetune.model import load_fine_tuned

    model = load_fine_tuned(folder, device=device_of(read_config(), "gpu"))
    return model.classes, model.predict_proba([text])


@click.command()
@click.argument("trained", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@exit_on_error()
def predict(trained: Path, text: str, as_json: bool) -> None:
    """Print each class of TEXT and its probability, most likely first."""
    probabilities = probabilities_of(text, trained)
    if as_json:
        click.echo(msgspec.json.encode({"label": next(iter(probabilities)), "probabilities": probabilities}))
        return
    for name, probability in probabilities.items():
        click.echo(f"{probability:.3f}  {name}")


if __name__ == "__main__":
    predict()
