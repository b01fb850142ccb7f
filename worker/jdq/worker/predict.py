"""Classifies one text in this process: ``python -m jdq.worker.predict HEAD_FILE [--json] -- TEXT``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from jdq.store.store import open_store
from jdq.worker.config import read_config
from jdq.worker.devices import device_of
from jdq.worker.errors import USER_ERRORS


def probabilities_of(text: str, head_file: Path) -> dict[str, float]:
    """The probability of each class, most likely first.

    The feature is computed as the head's own features were, and refused where the encoder is not the same any more.
    """
    from jdq.worker.encoders import load, space_of
    from jdq.worker.heads.files import load_head, require_space

    head = load_head(head_file)
    origin = head.record.origin
    config = read_config()
    definition = open_store(config.store).open_space(origin.space).definition
    length, precision = definition.max_length, definition.precision
    current = space_of(origin.encoder, max_length=length, precision=precision, storage_dtype=definition.storage_dtype)
    require_space(head.record, current.digest)
    encoder = load(origin.encoder, max_length=length, precision=precision, device=device_of(config, "gpu"))
    features = encoder.encode(encoder.tokenize([text])).astype(definition.storage_dtype)
    found = zip(head.classes, head.predict_proba(features)[0].tolist(), strict=True)
    return dict(sorted(found, key=lambda pair: -pair[1]))


@click.command()
@click.argument("head_file", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--json", "as_json", is_flag=True)
def predict(head_file: Path, text: str, as_json: bool) -> None:
    """Prints each class and its probability, most likely first."""
    try:
        found = probabilities_of(text, head_file)
    except USER_ERRORS as error:
        click.echo(f"jdq: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(msgspec.json.encode({"label": next(iter(found)), "probabilities": found}))
        return
    for name, probability in found.items():
        click.echo(f"{probability:.3f}  {name}")


if __name__ == "__main__":
    predict()
