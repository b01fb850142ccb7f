"""Features of texts in this process, without a job: read from the store, after computing those that it lacks."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from jdq.store.keys import text_keys
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.shard import Features
from jdq.worker.encoder.by_name import FeatureEncoder
from jdq.worker.encoder.options import device_kind
from jdq.worker.jobs.plan import CHUNK_TOKENS, chunk_bounds, estimated_tokens, first_rows


def stored_features(
    space: Space, texts: Sequence[str], load: Callable[[], FeatureEncoder], *, name: str, device: str
) -> Features:
    """(n, dim), in order. Chunk by chunk: what is stored stays if a later chunk fails. Raises EncoderError, StoreError.

    load: the encoder of the space, called only if the store lacks a text. name: the encoder as users know it.
    """
    keys = text_keys(texts)
    rows = first_rows(keys)
    rows = rows[space.missing(keys[rows])]
    if len(rows):
        _store(space, [texts[row] for row in rows], keys[rows], load(), {"job": "-", "encoder": name, "device": device})
    return space.read(keys)


def _store(space: Space, texts: list[str], keys: np.ndarray, encoder: FeatureEncoder, producer: dict[str, str]) -> None:
    n_bytes = np.array([len(text.encode()) for text in texts])
    most = CHUNK_TOKENS[device_kind([producer["device"]])]
    bounds = chunk_bounds(estimated_tokens(n_bytes, space.definition.max_length), most)
    for start, stop in pairwise(bounds.tolist()):
        tokens = encoder.tokenize(texts[start:stop])
        features = encoder.encode(tokens)
        space.put(keys[start:stop], features, tokens.n_tokens, producer={**producer, "path": encoder.path})
