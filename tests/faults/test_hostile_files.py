"""No file is read that is not plainly a shard."""

import resource
from pathlib import Path

import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.errors import DamagedShard, MissingFeatures
from jdq.store.keys import text_keys
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.mapped_shard import open_shard
from tests.faults.hostile_files import HOSTILE
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences

TEXTS = sentences(500)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_quarantined_and_replaced(kind: str, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    space = store.space(fake_space())
    path = space.shard_path(put_texts(space, TEXTS))
    HOSTILE[kind](path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedShard):
        open_shard(path, space=space.digest).check()
    with pytest.raises((DamagedShard, MissingFeatures)):
        Space(space.path).read(text_keys(TEXTS))
    # KiB: nothing of what the file asks for was made.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000
    found = verify(store, repair=True).findings
    assert [finding.kind for finding in found] == ["shard"]
    assert found[0].repaired.startswith("moved to")
    put_texts(Space(space.path), TEXTS)
    np.testing.assert_array_equal(Space(space.path).read(text_keys(TEXTS)), fake_features(TEXTS))


def test_a_shard_of_another_space_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    mine, other = store.space(fake_space()), store.space(fake_space(weights="another encoder's"))
    name = put_texts(other, TEXTS)
    mine.shard_path(name).write_bytes(other.shard_path(name).read_bytes())
    with pytest.raises(DamagedShard, match="belongs to feature space"):
        mine.open_shard(name)
    assert mine.missing(text_keys(TEXTS)).all()
