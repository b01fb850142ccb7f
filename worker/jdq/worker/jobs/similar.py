"""The rows of a dataset version that are most similar to a text, by stored features."""

from typing import Any

from jdq.store.datasets import DatasetVersion
from jdq.store.errors import StoreError
from jdq.store.store import Store
from jdq.store.trained import Models
from jdq.worker.jobs.neighbours import nearest
from jdq.worker.jobs.train_head import recorded_space


class OtherEncoder(StoreError):
    """The encoder's files have changed since the features were computed."""


def similar_rows(
    store: Store, version: DatasetVersion, text: str, *, space: str | None, k: int, device: str
) -> list[dict[str, Any]]:
    """The k most similar rows, most similar first: similarity, row (from 1), label if there is one, and text.

    Raises UnknownSpace, MissingFeatures, EncoderError, OtherEncoder.
    """
    from jdq.worker.encoder.by_name import load, space_of

    record = recorded_space(version, space)
    opened = store.open_space(record.space)
    definition = opened.definition
    files = Models(store.root).encoder(record.encoder)
    length, precision, pooling = definition.max_length, definition.precision, definition.pooling
    current = space_of(
        files, max_length=length, precision=precision, storage_dtype=definition.storage_dtype, pooling=pooling
    )
    if current.digest != record.space:
        raise OtherEncoder(
            f"the encoder {record.encoder} has changed since it computed the features of {version.name}\n"
            "  try: the encoder's earlier files, or jdq submit extract again"
        )
    encoder = load(files, max_length=length, precision=precision, device=device, poolings=(pooling,))
    query = encoder.encode(encoder.tokenize([text]))[0]
    places, similarity = nearest(query, opened.rows(version.keys()), k)
    texts = version.texts(places)
    labels = version.labels(missing="keep")[places].tolist() if version.label_column else None
    return [
        {
            "similarity": float(cosine),
            "row": int(place) + 1,
            **({} if labels is None else {"label": labels[n]}),
            "text": texts[n],
        }
        for n, (place, cosine) in enumerate(zip(places, similarity, strict=True))
    ]
