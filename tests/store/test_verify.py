"""What verify finds and repairs, and what is no damage."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jdq.store.maintenance.listing import summarize_dataset
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.mapped_shard import identity_of
from jdq.store.spaces.quarantine import quarantine
from tests.store.damage import flip
from tests.store.fake_datasets import import_texts, write_store
from tests.store.fake_features import fake_features, put_texts, sentences


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    store, _, _ = write_store(tmp_path / "store", sentences(300))
    shards: list[tuple[int, int]] = []
    report = verify(store, after_shard=lambda done, total: shards.append((done, total)))
    assert report.sound
    assert (report.spaces, report.shards, report.rows, report.datasets) == (1, 3, 300, 1)
    assert shards == [(1, 3), (2, 3), (3, 3)]


def test_a_flipped_bit_is_found_and_repair_makes_its_rows_missing(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(300))
    path = space.shard_path(space.shard_names()[0])
    flip(path, 4096 + 50)
    assert verify(store, quick=True).sound
    found = verify(store)
    assert [(f.kind, f.path) for f in found.findings] == [("shard", str(path))]
    assert "/features has digest" in found.findings[0].fact
    repaired = verify(store, repair=True)
    assert repaired.findings[0].repaired.startswith("moved to")
    assert [f.kind for f in repaired.findings] == ["shard"]
    assert "100 of 300 rows" in repaired.incomplete[0].fact
    texts = version.texts()
    missing = space.missing(version.keys())
    put_texts(space, [text for text, lacks in zip(texts, missing, strict=True) if lacks])
    assert verify(store).sound
    np.testing.assert_array_equal(Space(space.path).read(version.keys()), fake_features(texts))


def test_missing_rows_are_reported_and_are_no_damage(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(300))
    space.shard_path(space.shard_names()[0]).unlink()
    report = verify(store)
    assert report.sound
    assert [f.fact for f in report.incomplete] == [
        f"100 of 300 rows are not in feature space {space.digest}; extracting its file again computes them"
    ]


def test_a_damaged_definition_is_restored_from_a_shard(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(10))
    (space.path / "space.json").write_bytes(b"{}")
    assert [f.kind for f in verify(store).findings] == ["space"]
    assert len(verify(store).incomplete) == 1
    assert verify(store, repair=True).findings[0].repaired == "restored from a shard"
    assert verify(store).sound


def test_a_damaged_index_is_found_and_removed(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000))
    Space(space.path).missing(version.keys())
    (cache,) = (space.path / "index").iterdir()
    flip(cache, 5000)
    assert [f.kind for f in verify(store, repair=True).findings] == ["index"]
    assert verify(store).sound


@pytest.mark.parametrize("position", [5_000, 13_000, 20_500, -9, 30, 3])
def test_a_damaged_index_gives_no_wrong_row_and_no_false_missing(tmp_path: Path, position: int) -> None:
    _, version, space = write_store(tmp_path / "store", sentences(1000))
    Space(space.path).missing(version.keys())
    (cache,) = (space.path / "index").iterdir()
    for offset in range(0, 64, 8):
        flip(cache, position + offset if position > 0 else position - offset)
    np.testing.assert_array_equal(Space(space.path).read(version.keys()), fake_features(version.texts()))
    assert not Space(space.path).missing(version.keys()).any()


def test_damage_is_only_reported_without_repair(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(1000))
    Space(space.path).missing(version.keys())
    (cache,) = (space.path / "index").iterdir()
    shard = space.shard_path(space.shard_names()[0])
    flip(cache, 5000)
    flip(shard, 4096 + 50)
    assert [(found.kind, found.repaired) for found in verify(store).findings] == [("shard", ""), ("index", "")]
    assert cache.exists()
    assert shard.exists()


def test_a_definition_that_no_shard_has_stays_damaged(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", sentences(10))
    (space.path / "space.json").write_bytes(b"{}")
    flip(space.shard_path(space.shard_names()[0]), 3)
    findings = {found.kind: found.repaired for found in verify(store, repair=True).findings}
    assert findings["space"] == ""
    assert findings["shard"].startswith("moved to")


def test_verify_names_damaged_datasets_and_their_missing_files(tmp_path: Path) -> None:
    store, version, _ = write_store(tmp_path / "store", sentences(10))
    other = import_texts(store, sentences(5), name="other")
    third = import_texts(store, sentences(6), name="third")
    flip(version.path / "keys.npy", 150)
    (other.path / "dataset.json").write_text("{}")
    shutil.rmtree(third.path / "imports")
    facts = {Path(found.path).parent.name: found.fact for found in verify(store).findings}
    assert facts["posts"] == "keys.npy: it has changed since it was written"
    assert "dataset.json" in facts["other"]
    assert verify(store, quick=True).datasets == 2


def test_a_space_that_cannot_be_opened_is_listed_as_unknown(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(10))
    assert [extracted.missing for extracted in summarize_dataset(store, version).extracted] == [0]
    (space.path / "space.json").unlink()
    assert [extracted.missing for extracted in summarize_dataset(store, version).extracted] == [None]


def test_only_the_file_that_was_checked_is_quarantined(tmp_path: Path) -> None:
    _, _, space = write_store(tmp_path / "store", sentences(3))
    shard = space.shard_path(space.shard_names()[0])
    assert quarantine(space.path, shard, (0, 0)) is None
    assert shard.exists()
    assert quarantine(space.path, shard.with_name("none.h5"), identity_of(shard.lstat())) is None
    moved = quarantine(space.path, shard, identity_of(shard.lstat()))
    assert moved is not None
    assert (moved.exists(), shard.exists()) == (True, False)
