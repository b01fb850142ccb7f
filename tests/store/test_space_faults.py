"""A feature space whose files were changed, exchanged or refused: no wrong row, and an error that says which file."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.store import Space, open_store
from jdq.store.errors import CannotRead, CannotWrite, DamagedShard, MissingFeatures, StoreFormatError
from jdq.store.files import digests
from jdq.store.job_files import JobFiles
from jdq.store.keys import text_keys
from jdq.store.maintenance.verify import verify
from jdq.store.spaces import mapped_shard, segment
from jdq.store.spaces.mapped_shard import open_shard
from jdq.store.spaces.mmap_file import MappedFiles
from jdq.store.spaces.validator import layout_of
from tests.store.damage import flip
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences

TEXTS = sentences(40)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return open_store(tmp_path / "store").space(fake_space())


def test_an_error_of_missing_rows_names_up_to_three_damaged_shards(space: Space) -> None:
    for start in range(0, 40, 8):
        flip(space.shard_path(put_texts(space, TEXTS[start : start + 8])), 10)
    with pytest.raises(MissingFeatures) as caught:
        Space(space.path).read(text_keys(TEXTS))
    assert caught.value.why.count("is damaged: ") == 3
    assert caught.value.positions == tuple(range(40))


@pytest.mark.parametrize("shift", [1, 25])
def test_an_index_that_names_other_rows_gives_no_wrong_row(space: Space, shift: int) -> None:
    """Of this shard, or beyond its end."""
    name = put_texts(space, TEXTS[:30])
    wrong = np.concatenate([text_keys(sentences(shift, 900)), text_keys(TEXTS[:30])])
    segment.write(space.path / "index", [segment.build({name: wrong})], [name])
    reader = Space(space.path)
    assert not reader.missing(text_keys(TEXTS[:30])).any()
    np.testing.assert_array_equal(reader.read(text_keys(TEXTS[:30])), fake_features(TEXTS[:30]))
    assert segment.paths(space.path / "index") == []


def test_a_space_whose_shards_never_stay_is_to_be_read_again(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    put_texts(space, TEXTS)

    def gone(*_: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Space, "open_shard", gone)
    with pytest.raises(StoreFormatError, match=f"feature space {space.path} changed 5 times while it was read"):
        space.read(text_keys(TEXTS))


def test_a_process_that_has_a_shard_open_notices_that_it_was_written_to(space: Space) -> None:
    path = space.shard_path(put_texts(space, TEXTS))
    space.read(text_keys(TEXTS))
    flip(path, layout_of(path).offsets["features"] + 11)
    with pytest.raises(MissingFeatures, match=f"shard {path.stem} is damaged: /features has digest"):
        space.read(text_keys(TEXTS))
    assert not verify(open_store(space.path.parents[1])).sound


def foreign_shard(space: Space) -> Path:
    """A shard of another feature space in the place of this one's."""
    other = open_store(space.path.parents[1]).space(fake_space(weights="f" * 32))
    path = space.shard_path(put_texts(space, TEXTS))
    shutil.copy(other.shard_path(put_texts(other, TEXTS)), path)
    return path


def test_a_shard_of_another_space_is_damage_in_every_reading(space: Space) -> None:
    name = put_texts(space, TEXTS)
    assert not space.missing(text_keys(TEXTS)).any()
    path = foreign_shard(space)
    with pytest.raises(DamagedShard, match=f"{path}: it belongs to feature space"):
        space.examine(0)
    with pytest.raises(DamagedShard, match=f"{path}: it belongs to feature space"):
        space.open_shard(name)


def test_a_shard_of_another_space_is_quarantined_when_its_rows_are_put(space: Space) -> None:
    path = foreign_shard(space)
    put_texts(space, TEXTS)
    assert [moved.name[:32] for moved in (space.path / "quarantine").iterdir()] == [path.stem]
    np.testing.assert_array_equal(Space(space.path).read(text_keys(TEXTS)), fake_features(TEXTS))


def test_a_put_that_fails_names_the_file_and_the_reason(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jdq.store.spaces.feature_space.publish", full)
    with pytest.raises(CannotWrite, match="No space left on device") as caught:
        put_texts(space, TEXTS)
    assert (caught.value.path.parent, caught.value.path.suffix) == (space.shards, ".h5")


def test_a_shard_of_another_space_or_of_other_keys_is_damage(space: Space, tmp_path: Path) -> None:
    other = open_store(tmp_path / "store").space(fake_space(weights="f" * 32))
    name = put_texts(other, sentences(5))
    foreign, misnamed = space.shard_path(name), other.shard_path("a" * 32)
    for path in (foreign, misnamed):
        path.write_bytes(other.shard_path(name).read_bytes())
    with pytest.raises(DamagedShard, match=f"belongs to feature space {other.digest}, not {space.digest}") as raised:
        open_shard(foreign, space=space.digest)
    assert raised.value.path == foreign
    with pytest.raises(DamagedShard, match=f"its keys have the digest {name}, not its name") as raised:
        open_shard(misnamed, space=other.digest)
    assert raised.value.path == misnamed
    assert open_shard(other.shard_path(name), space=other.digest).header.rows == 5


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, DamagedShard), (errno.ENOMEM, CannotRead)])
def test_a_shard_that_cannot_be_mapped_is_named(
    space: Space, number: int, kind: type[DamagedShard | CannotRead], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = space.shard_path(put_texts(space, sentences(5)))

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(MappedFiles, "add", refuse)
    with pytest.raises(kind, match=os.strerror(number)) as raised:
        space.open_shard(path.stem)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("name", ["keys", "n_tokens"])
def test_a_shard_with_other_keys_or_token_counts_is_not_opened(space: Space, name: str) -> None:
    path = space.shard_path(put_texts(space, TEXTS))
    flip(path, layout_of(path).offsets[name] + 3)
    with pytest.raises(DamagedShard, match=f"damaged shard {path}: /{name} has digest"):
        open_shard(path)


def refuse_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(mapped_shard, "read_blocks", refuse)
    monkeypatch.setattr(mapped_shard, "read_into", refuse)


def test_a_bad_block_of_an_array_is_named(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    path = space.shard_path(put_texts(space, sentences(5000)))
    shard, checked = open_shard(path), open_shard(path)
    checked.check()
    refuse_blocks(monkeypatch)
    checked.check()
    with pytest.raises(DamagedShard, match="it cannot be read: Input/output error") as raised:
        shard.check()
    assert raised.value.path == path


def test_a_shard_that_another_machine_truncates_while_it_is_read_is_damage(space: Space, shared: None) -> None:
    texts = sentences(5000, 100)
    path, other = space.shard_path(put_texts(space, texts)), put_texts(space, TEXTS)
    reader = Space(space.path)
    rows = reader.rows(text_keys([*texts, *TEXTS]))
    np.testing.assert_array_equal(rows[4990:5010], fake_features([*texts[-10:], *TEXTS[:10]]))
    assert rows[:3].dtype == rows[[1]].dtype == rows.dtype == np.float16
    np.testing.assert_array_equal(rows[4000:5000:2], fake_features(texts[4000::2]))
    np.testing.assert_array_equal(rows[[3, 5001, 3]], fake_features([texts[3], TEXTS[1], texts[3]]))
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks(999))), fake_features([*texts, *TEXTS]))
    os.truncate(path, 1000)
    for which in (7, slice(0, 100), [0, 4999]):
        with pytest.raises(DamagedShard, match=f"{path}: it was removed or replaced since it was opened"):
            rows[which]
    np.testing.assert_array_equal(rows[5000:], fake_features(TEXTS))
    with pytest.raises(MissingFeatures, match=f"shard {path.stem} is damaged"):
        reader.read(text_keys(texts))
    np.testing.assert_array_equal(reader.read(text_keys(TEXTS)), fake_features(TEXTS))
    space.shard_path(other).unlink()
    with pytest.raises(DamagedShard, match=f"{other}.h5: it was removed"):
        rows[5000:]


def test_an_index_and_an_array_that_another_machine_truncates_stay_as_they_were(space: Space, shared: None) -> None:
    segment.write(space.path / "index", [part := segment.build({"a" * 32: text_keys(sentences(5000))})], ["a" * 32])
    (path,) = segment.paths(space.path / "index")
    files, numbers = JobFiles(space.path), np.arange(5000)
    files.put_array("job", "numbers", numbers)
    read, array = segment.read(path), files.get_array("job", "numbers")
    for file in (path, files.folder("job") / "numbers.npy"):
        os.truncate(file, 0)
    assert read is not None
    np.testing.assert_array_equal(read.entries, part.entries)
    np.testing.assert_array_equal(array, numbers)


def test_a_bad_block_that_is_read_after_the_check_is_damage(
    space: Space, shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_texts(space, TEXTS)
    rows = space.rows(text_keys(TEXTS))
    np.testing.assert_array_equal(rows[:], fake_features(TEXTS))
    refuse_blocks(monkeypatch)
    with pytest.raises(DamagedShard, match="it cannot be read: Input/output error"):
        rows[:]


def test_a_file_that_is_removed_or_ends_early_is_not_read(space: Space) -> None:
    path = space.shard_path(put_texts(space, TEXTS))
    shard = open_shard(path)
    with path.open("rb") as file, pytest.raises(OSError, match=r"^the file ends at \d+, not at 1000000$"):
        digests.read_into(file.fileno(), 0, np.empty(1_000_000, np.uint8))
    path.unlink()
    for use in (shard.check, lambda: shard.read(np.arange(2))):
        with pytest.raises(FileNotFoundError):
            use()
