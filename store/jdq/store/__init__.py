"""Datasets, features, heads and models as plain files. Start with `open_store`.

Names are imported on first use, so that a client that only needs a path does not load numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jdq.store.errors import DamagedShard, MissingFeatures, NotFinite, StoreError
    from jdq.store.extracted import ExtractedDataset
    from jdq.store.keys import text_key, text_keys
    from jdq.store.spaces.batches import Batch, BatchPlan
    from jdq.store.spaces.definition import FeatureSpace
    from jdq.store.spaces.feature_space import Space
    from jdq.store.spaces.rows import FeatureRows
    from jdq.store.store import Store, open_store

__all__ = [
    "Batch",
    "BatchPlan",
    "DamagedShard",
    "ExtractedDataset",
    "FeatureRows",
    "FeatureSpace",
    "MissingFeatures",
    "NotFinite",
    "Space",
    "Store",
    "StoreError",
    "open_store",
    "text_key",
    "text_keys",
]

_HOMES = {
    "spaces.batches": ("Batch", "BatchPlan"),
    "errors": ("DamagedShard", "MissingFeatures", "NotFinite", "StoreError"),
    "extracted": ("ExtractedDataset",),
    "spaces.feature_space": ("Space",),
    "keys": ("text_key", "text_keys"),
    "spaces.rows": ("FeatureRows",),
    "spaces.definition": ("FeatureSpace",),
    "store": ("Store", "open_store"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"jdq.store.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
