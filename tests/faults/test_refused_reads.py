"""What the system refuses for want of handles or maps is no damage; what it refuses for a file is."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from jdq.store import Space, Store, open_store
from jdq.store.errors import CannotRead, MissingFeatures
from jdq.store.exports.export import export
from jdq.store.keys import text_keys
from jdq.store.maintenance.garbage import collect_garbage
from jdq.store.maintenance.listing import list_store
from jdq.store.maintenance.verify import verify
from jdq.store.spaces import compact, mmap_file
from jdq.store.spaces.mmap_file import SMALLEST_MAP, MappedFiles
from tests.store.fake_datasets import write_store
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences


def refuse_to_open(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(name: str | Path, *arguments: int, **more: int) -> int:
        if Path(name) == path:
            raise OSError(number, os.strerror(number), str(name))
        return real(name, *arguments, **more)

    monkeypatch.setattr(os, "open", refusing)


def refuse_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(address: int | None, size: int, *_: int) -> int:
        raise OSError(errno.ENOMEM, f"cannot map {size} bytes: {os.strerror(errno.ENOMEM)}")

    monkeypatch.setattr(mmap_file, "_mmap", refusing)


def test_too_many_open_files_are_reported_as_that_and_not_as_a_failed_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(20))
    table = store.open(version.name)
    refuse_to_open(space.shard_path(space.shard_names()[0]), errno.EMFILE, monkeypatch)
    with pytest.raises(CannotRead, match=r"cannot read .*\.h5: Too many open files"):
        export(table, tmp_path / "x.npz")
    monkeypatch.undo()
    assert table.read().shape == (20, 8)
    assert verify(store).sound


def refuse_to_list(refused: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder `refused` cannot be listed, as after another machine replaced it on a file server."""
    real = os.scandir

    def scandir(folder: Path | str = ".") -> object:
        if Path(folder) == refused:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_of_shards_that_cannot_be_listed_is_one_line_of_ls_and_of_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(20))
    other = store.space(fake_space(3))
    refuse_to_list(space.shards, monkeypatch)
    fact = f"cannot read {space.shards}: Stale file handle (errno {errno.ESTALE})"
    summary, report = list_store(store), verify(store, repair=True)
    assert [listed.space for listed in summary.spaces] == [other.digest]
    assert [extraction.missing for extraction in summary.datasets[0].extracted] == [None]
    assert summary.damaged == [fact]
    assert [(found.kind, found.path, found.fact) for found in report.findings] == [("space", str(space.shards), fact)]
    assert [found.path for found in report.incomplete] == [str(version.path)]
    monkeypatch.undo()
    assert verify(store).sound


def test_a_folder_that_cannot_be_listed_is_no_failed_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, version, space = write_store(tmp_path / "store", sentences(20))
    table = store.open(version.name)
    refuse_to_list(space.shards, monkeypatch)
    with pytest.raises(CannotRead, match=f"cannot read {space.shards}: Stale file handle"):
        export(table, tmp_path / "x.npz")


def store_with_a_refused_shard(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Space, Path]:
    """A store with 20 texts in two shards, its space, and the first shard, which cannot be opened."""
    store = open_store(folder)
    space = store.space(fake_space())
    refused = space.shard_path(put_texts(space, sentences(10)))
    put_texts(space, sentences(10, 10))
    refuse_to_open(refused, number, monkeypatch)
    return store, space, refused


def test_a_shard_without_read_permission_is_one_finding_and_its_rows_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, space, refused = store_with_a_refused_shard(tmp_path, errno.EACCES, monkeypatch)
    assert [(found.path, found.fact) for found in verify(store).findings] == [
        (str(refused), "it cannot be read: Permission denied")
    ]
    reader = Space(space.path)
    np.testing.assert_array_equal(reader.read(text_keys(sentences(10, 10))), fake_features(sentences(10, 10)))
    with pytest.raises(MissingFeatures, match="Permission denied"):
        reader.read(text_keys(sentences(10)))


def test_verify_goes_on_after_a_shard_that_the_system_cannot_open_now_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, refused = store_with_a_refused_shard(tmp_path, errno.ENOMEM, monkeypatch)
    report = verify(store, repair=True)
    assert [(found.path, found.repaired) for found in report.findings] == [(str(refused), "")]
    assert "Cannot allocate memory" in report.findings[0].fact
    assert (report.shards, report.rows, refused.exists()) == (1, 10, True)


def test_a_process_without_a_map_left_is_told_to_compact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = open_store(tmp_path).space(fake_space())
    put_texts(space, sentences(SMALLEST_MAP // 16))
    keys = text_keys(sentences(SMALLEST_MAP // 16))
    reader = Space(space.path)
    assert not reader.missing(keys).any()
    _ = reader._files
    refuse_maps(monkeypatch)
    with pytest.raises(CannotRead, match=r"cannot map .*\n  try: jdq store compact"):
        reader.rows(keys)
    monkeypatch.undo()
    np.testing.assert_array_equal(reader.read(keys), fake_features(sentences(len(keys))))


def test_compaction_gc_and_verify_map_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    space = store.space(fake_space())
    for start in range(0, 600, 10):
        put_texts(space, sentences(10, start))
    monkeypatch.delattr(MappedFiles, "add")
    fresh = Store(tmp_path)
    assert len(compact.compact(fresh.spaces()[0]).published) == 1
    assert verify(fresh).sound
    assert len(collect_garbage(fresh, grace_s=-1).replaced) == 60
