"""The files beside a version's table: which of them are read, in which order, and which cannot be."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.datasets import DatasetVersion, InvalidName
from jdq.store.datasets.records import SPACES
from jdq.store.files.digests import to_json
from tests.store.fake_datasets import import_texts
from tests.store.fake_features import sentences


@pytest.fixture
def version(tmp_path: Path) -> DatasetVersion:
    return import_texts(open_store(tmp_path), sentences(9))


def test_only_the_damaged_files_of_a_version_are_unreadable(version: DatasetVersion) -> None:
    split = version.put_split(None, np.arange(9, dtype=np.uint8) % 3, {})
    for space in ("a" * 32, "f" * 32, "0" * 32):
        version.record_space(space, encoder="e", job="j")
    assert version.unreadable() == {}
    bad = [version.path / SPACES / f"{'a' * 32}.json", version.path / "splits" / f"{split.record.digest}.npy"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-20])
    assert list(version.unreadable()) == bad


def test_the_last_recorded_space_is_the_newest_although_another_clock_was_ahead(version: DatasetVersion) -> None:
    version.record_space("a" * 32, encoder="e", job="j")
    ahead = msgspec.structs.replace(version.spaces()[0], recorded_at=datetime.now(UTC) + timedelta(hours=1))
    (version.path / SPACES / f"{'a' * 32}.json").write_bytes(to_json(ahead))
    version.record_space("b" * 32, encoder="e", job="j")
    assert [record.space[0] for record in version.spaces()] == ["b", "a"]


def test_what_is_no_digest_is_quoted_up_to_eighty_characters(version: DatasetVersion) -> None:
    with pytest.raises(InvalidName, match=f"^'{'z' * 80}' cannot be a feature space"):
        version.record_space("z" * 200, encoder="e", job="j")
