"""docs/reference/store-format.md: version 1, byte for byte where it says so, which every later version can read."""

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
import xxhash

from jdq.store import open_store
from jdq.store.errors import DamagedShard, StoreFormatError
from jdq.store.keys import text_keys
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.shard import encode_shard
from tests.store.fake_features import PRODUCER, fake_features, fake_lengths, fake_space, put_texts, sentences
from tests.store.make_frozen import TEXTS

FROZEN = Path(__file__).parent / "frozen"
SHARD = "567beef80e7930fc0297686df89cfce4"


def test_the_frozen_shard_of_version_1_is_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    definition = (FROZEN / "space-v1.json").read_bytes()
    folder = tmp_path / "spaces" / hashlib.blake2b(definition, digest_size=16).hexdigest()
    (folder / "shards").mkdir(parents=True)
    shutil.copy(FROZEN / "space-v1.json", folder / "space.json")
    shutil.copy(FROZEN / "shard-v1.h5", folder / "shards" / f"{SHARD}.h5")
    (space,) = store.spaces()
    np.testing.assert_array_equal(space.read(text_keys(TEXTS)), fake_features(TEXTS, 16))
    np.testing.assert_array_equal(space.n_tokens(text_keys(TEXTS)), fake_lengths(TEXTS))
    assert json.loads(space.open_shard(SHARD).header.producer) == PRODUCER
    assert verify(store).sound


def test_the_frozen_shard_is_read_by_the_specification_only() -> None:
    with h5py.File(FROZEN / "shard-v1.h5") as file:
        attributes = {name: _plain(value) for name, value in file.attrs.items()}
        features, keys, n_tokens = file["features"][:], file["keys"][:], file["n_tokens"][:]
    header_digest = attributes.pop("header_digest")
    assert attributes["format"] == "jdq-shard"
    assert attributes["format_version"] == 1
    assert attributes["rows"] == len(features) == len(keys) == len(n_tokens)
    assert attributes["dim"] == features.shape[1]
    assert attributes["keys_digest"] == hashlib.blake2b(keys.tobytes(), digest_size=16).hexdigest() == SHARD
    assert attributes["features_digest"] == xxhash.xxh3_128_hexdigest(features.tobytes())
    assert attributes["n_tokens_digest"] == xxhash.xxh3_128_hexdigest(n_tokens.tobytes())
    canonical = json.dumps(attributes, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert header_digest == xxhash.xxh3_128_hexdigest(canonical)
    space = hashlib.blake2b(str(attributes["space_json"]).encode(), digest_size=16).hexdigest()
    assert attributes["space"] == space
    assert bytes(keys[20]) == hashlib.blake2b("naïve 質問".encode(), digest_size=16).digest()


def _plain(value: bytes | np.uint64) -> str | int:
    return value.decode() if isinstance(value, bytes) else int(value)


def test_the_same_rows_still_make_the_same_shard_name_and_digests() -> None:
    arrays = text_keys(TEXTS), fake_features(TEXTS, 16), fake_lengths(TEXTS)
    assert encode_shard(fake_space(16, tokenizer="frozen"), *arrays, producer=PRODUCER)[0] == SHARD


def test_arrays_begin_at_pages_in_files_without_a_crash_flag(tmp_path: Path) -> None:
    space = open_store(tmp_path).space(fake_space())
    path = space.shard_path(put_texts(space, sentences(1000)))
    with h5py.File(path) as file:
        assert file["features"].id.get_offset() % 4096 == 0
        assert {name: (array.chunks, array.compression) for name, array in file.items()} == dict.fromkeys(
            ("features", "keys", "n_tokens"), (None, None)
        )
    # HDF5's superblock: the version, then (byte 11) the flags of a file that is open for writing.
    assert path.read_bytes()[8] in (0, 2)
    assert path.read_bytes()[11] == 0


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path)
    (tmp_path / "STORE.json").write_bytes(msgspec.json.encode({"format": "jdq-store", "version": 2}))
    with pytest.raises(StoreFormatError, match="jdq-store version 2; this jdq reads jdq-store version 1"):
        open_store(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": "x"}', b'{"format": "other", "version": 1}'])
def test_a_folder_with_another_store_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "STORE.json").write_bytes(content)
    with pytest.raises(StoreFormatError):
        open_store(tmp_path)


def test_a_folder_with_other_files_is_not_made_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreFormatError, match="holds other files"):
        open_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_files_that_are_no_shards_are_not_looked_at(tmp_path: Path) -> None:
    space = open_store(tmp_path).space(fake_space())
    name = put_texts(space, ["a"])
    for other in ("README.md", f"{name}.h5.bak", f".{name}.h5.0123456789abcdef.partial", f"{name.upper()}.h5x"):
        (space.shards / other).write_text("not a shard")
    assert space.shard_names() == [name]
    assert not Space(space.path).missing(text_keys(["a"])).any()


def test_a_shard_under_another_name_is_refused(tmp_path: Path) -> None:
    space = open_store(tmp_path).space(fake_space())
    path = space.shard_path(put_texts(space, ["a"]))
    path.rename(space.shard_path("0" * 32))
    with pytest.raises(DamagedShard, match="not its name"):
        space.open_shard("0" * 32)
