"""Datasets, features, heads and models as plain files. Start with `open_store`.

Names are imported on first use, so that a client that only needs a path does not load numpy.
"""

import importlib
from typing import TYPE_CHECKING

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
__all__ = [name for names in _HOMES.values() for name in names]

if TYPE_CHECKING:
    from jdq.store.errors import DamagedShard as DamagedShard
    from jdq.store.errors import MissingFeatures as MissingFeatures
    from jdq.store.errors import NotFinite as NotFinite
    from jdq.store.errors import StoreError as StoreError
    from jdq.store.extracted import ExtractedDataset as ExtractedDataset
    from jdq.store.keys import text_key as text_key
    from jdq.store.keys import text_keys as text_keys
    from jdq.store.spaces.batches import Batch as Batch
    from jdq.store.spaces.batches import BatchPlan as BatchPlan
    from jdq.store.spaces.definition import FeatureSpace as FeatureSpace
    from jdq.store.spaces.feature_space import Space as Space
    from jdq.store.spaces.rows import FeatureRows as FeatureRows
    from jdq.store.store import Store as Store
    from jdq.store.store import open_store as open_store


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"jdq.store.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
