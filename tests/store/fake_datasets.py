"""Small datasets for tests, imported from a CSV and extracted with the fake encoder."""

import csv
from collections.abc import Sequence
from pathlib import Path

from jdq.store.datasets import DatasetVersion
from jdq.store.spaces.feature_space import Space
from jdq.store.store import Store
from tests.store.fake_features import fake_space, put_texts


def import_texts(store: Store, texts: Sequence[str], *, name: str = "posts") -> DatasetVersion:
    """A dataset of these texts, with the labels c0, c1 and c2 in turn."""
    file = store.root.parent / f"{name}.csv"
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["text", "label"])
        writer.writerows((text, f"c{number % 3}") for number, text in enumerate(texts))
    return store.datasets.import_table(file, name=name)


def extract_texts(store: Store, version: DatasetVersion, *, dim: int = 8, chunk: int = 100) -> Space:
    """Put the fake features of the dataset's texts, `chunk` at a time, and record the feature space."""
    space = store.space(fake_space(dim))
    texts = list(dict.fromkeys(version.texts()))
    for start in range(0, len(texts), chunk):
        put_texts(space, texts[start : start + chunk])
    version.record_space(space.digest, encoder="fake", job="test")
    return space


def write_store(root: Path, texts: Sequence[str], **options: int) -> tuple[Store, DatasetVersion, Space]:
    """A store with one extracted dataset."""
    from jdq.store.store import open_store

    store = open_store(root)
    version = import_texts(store, texts)
    return store, version, extract_texts(store, version, **options)
