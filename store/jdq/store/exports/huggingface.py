"""Features as a Hugging Face dataset. No other module of the store imports this one, or `datasets`."""

import hashlib

import datasets
import numpy as np
import pyarrow as pa

from jdq.store.extracted import ExtractedDataset
from jdq.store.spaces.shard import Features


def to_huggingface(table: ExtractedDataset, *, label_column: str | None = None) -> datasets.Dataset:
    """A `datasets.Dataset` with the columns features, label (a ClassLabel, where the table has labels) and text.

    Features keep the storage dtype, and stay memory-mapped where the table's rows are adjacent in a shard; labels and
    texts are in memory.
    """
    label_column = label_column or table.version.label_column
    dtype = table.space.definition.storage_dtype
    blocks = [_arrow(block) for block in table.features.blocks()]
    kind = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), table.space.definition.dim)
    columns = {"features": pa.chunked_array(blocks, type=kind), "text": pa.array(table.texts(), pa.large_string())}
    schema = {
        "features": datasets.List(datasets.Value(dtype), length=table.space.definition.dim),
        "text": datasets.Value("large_string"),
    }
    if label_column is not None:
        classes, numbers = np.unique(table.labels(label_column), return_inverse=True)
        columns["label"] = pa.array(numbers.astype(np.int64))
        schema["label"] = datasets.ClassLabel(names=classes.tolist())
    # Without a given fingerprint `datasets` hashes every row.
    made_of = f"{table.version.version} {table.space.digest} {label_column}"
    return datasets.Dataset(
        pa.table(columns),
        info=datasets.DatasetInfo(features=datasets.Features(schema)),
        fingerprint=hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest(),
    )


def _arrow(block: Features) -> pa.FixedSizeListArray:
    numbers = pa.Array.from_buffers(pa.from_numpy_dtype(block.dtype), block.size, [None, pa.py_buffer(block)])
    return pa.FixedSizeListArray.from_arrays(numbers, block.shape[1])
