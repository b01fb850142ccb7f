"""Put, missing and read of one feature space."""

import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.errors import MissingFeatures, NotFinite, StoreFormatError
from jdq.store.keys import text_keys
from jdq.store.spaces.feature_space import Space
from jdq.store.store import Store
from tests.store.fake_features import PRODUCER, fake_features, fake_lengths, fake_space, put_texts, sentences


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def space(store: Store) -> Space:
    return store.space(fake_space())


def test_rows_come_back_in_the_requested_order_with_repeats(space: Space) -> None:
    texts = sentences(10_000)
    for start in range(0, len(texts), 700):
        put_texts(space, texts[start : start + 700])
    asked = [texts[i] for i in np.random.default_rng(0).integers(0, len(texts), 20_000)]
    for reader in (space, Space(space.path)):
        np.testing.assert_array_equal(reader.read(text_keys(asked)), fake_features(asked))
        np.testing.assert_array_equal(reader.n_tokens(text_keys(asked)), fake_lengths(asked))


def test_missing_says_what_was_not_put(space: Space) -> None:
    put_texts(space, sentences(20))
    np.testing.assert_array_equal(space.missing(text_keys(sentences(30))), [False] * 20 + [True] * 10)
    assert space.missing(text_keys([])).shape == (0,)


def test_missing_and_read_see_what_another_process_has_put(space: Space) -> None:
    reader = Space(space.path)
    assert reader.missing(text_keys(sentences(5))).all()
    put_texts(space, sentences(5))
    assert not reader.missing(text_keys(sentences(5))).any()
    put_texts(space, sentences(5, start=5))
    np.testing.assert_array_equal(reader.read(text_keys(sentences(10))), fake_features(sentences(10)))


def test_an_unknown_key_is_an_error_that_names_it(space: Space) -> None:
    put_texts(space, sentences(3))
    with pytest.raises(MissingFeatures) as caught:
        space.read(text_keys([*sentences(2), "never put"]))
    assert caught.value.positions == (2,)
    assert caught.value.keys == (bytes(text_keys(["never put"])[0]).hex(),)
    assert "1 of 3 features are not in feature space" in str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301


def test_a_deleted_shard_makes_just_its_rows_missing(space: Space) -> None:
    names = [put_texts(space, sentences(10, start)) for start in (0, 10, 20)]
    space.shard_path(names[1]).unlink()
    for reader in (space, Space(space.path)):
        np.testing.assert_array_equal(
            reader.missing(text_keys(sentences(30))), [False] * 10 + [True] * 10 + [False] * 10
        )
    with pytest.raises(MissingFeatures) as caught:
        Space(space.path).read(text_keys(sentences(30)))
    assert caught.value.positions == tuple(range(10, 20))
    put_texts(space, sentences(10, 10))
    np.testing.assert_array_equal(space.read(text_keys(sentences(30))), fake_features(sentences(30)))


def test_a_read_outlives_the_file_that_it_maps(space: Space) -> None:
    name = put_texts(space, sentences(1000))
    rows = space.rows(text_keys(sentences(1000)))
    space.shard_path(name).unlink()
    np.testing.assert_array_equal(rows[:], fake_features(sentences(1000)))


def test_the_same_rows_twice_are_one_shard(space: Space) -> None:
    assert put_texts(space, sentences(9)) == put_texts(Space(space.path), sentences(9))
    assert len(space.shard_names()) == 1


def test_the_first_of_two_writers_wins(space: Space) -> None:
    put_texts(space, sentences(4))
    other = fake_features(sentences(4)) + 1
    Space(space.path).put(text_keys(sentences(4)), other, fake_lengths(sentences(4)), producer=PRODUCER)
    np.testing.assert_array_equal(Space(space.path).read(text_keys(sentences(4))), fake_features(sentences(4)))


def test_an_existing_damaged_shard_is_quarantined_and_put_again(space: Space) -> None:
    path = space.shard_path(put_texts(space, sentences(50)))
    path.write_bytes(path.read_bytes()[:-3000] + bytes(3000))
    put_texts(Space(space.path), sentences(50))
    np.testing.assert_array_equal(Space(space.path).read(text_keys(sentences(50))), fake_features(sentences(50)))
    np.testing.assert_array_equal(space.read(text_keys(sentences(50))), fake_features(sentences(50)))
    assert len(list((space.path / "quarantine").iterdir())) == 1


def test_rows_that_are_not_finite_after_the_cast_are_named_and_not_stored(space: Space) -> None:
    features = np.ones((600, 8), dtype=np.float32)
    features[3, 0], features[300, 7], features[599, 1] = np.nan, 70_000, -np.inf
    with pytest.raises(NotFinite) as caught:
        space.put(text_keys(sentences(600)), features, np.ones(600), producer=PRODUCER)
    assert caught.value.positions == (3, 300, 599)
    assert str(caught.value) == "3 rows are not finite as float16: 3, 300, 599; nothing was stored"
    assert space.shard_names() == []


def test_float32_spaces_hold_what_float16_cannot(store: Store) -> None:
    space = store.space(fake_space(storage_dtype="float32"))
    features = np.full((2, 8), 70_000.5, dtype=np.float64)
    space.put(text_keys(["a", "b"]), features, [1, 2], producer=PRODUCER)
    read = Space(space.path).read(text_keys(["b"]))
    assert read.dtype == np.float32
    assert (read == np.float32(70_000.5)).all()


def test_a_key_twice_in_one_put_is_an_error(space: Space) -> None:
    with pytest.raises(ValueError, match=r"a put takes different keys, but those of rows \[2 4\] occur before"):
        put_texts(space, ["a", "b", "a", "c", "b"])
    assert space.shard_names() == []


@pytest.mark.parametrize(("rows", "columns", "lengths"), [(0, 8, 0), (3, 7, 3), (3, 8, 2), (2, 8, 2)])
def test_a_put_of_a_wrong_shape_is_refused(space: Space, rows: int, columns: int, lengths: int) -> None:
    keys = text_keys(sentences(3 if rows else 0))
    with pytest.raises(ValueError, match="a put takes"):
        space.put(keys, np.zeros((rows, columns)), np.zeros(lengths), producer=PRODUCER)


def test_a_shard_reads_with_only_h5py(space: Space) -> None:
    texts = sentences(100)
    with h5py.File(space.shard_path(put_texts(space, texts))) as file:
        np.testing.assert_array_equal(file["features"][:], fake_features(texts))
        np.testing.assert_array_equal(file["keys"][:], text_keys(texts))
        np.testing.assert_array_equal(file["n_tokens"][:], fake_lengths(texts))
        assert file.attrs["space"].decode() == space.digest
        assert int(file.attrs["rows"]) == 100


def test_the_index_comes_back_when_it_is_deleted(space: Space) -> None:
    for start in range(0, 200, 10):
        put_texts(space, sentences(10, start))
    keys = text_keys(sentences(200))
    for _ in range(3):
        reader = Space(space.path)
        assert not reader.missing(keys).any()
        assert len(list((space.path / "index").iterdir())) == 1
        shutil.rmtree(space.path / "index")
        np.testing.assert_array_equal(reader.read(keys), fake_features(sentences(200)))


def test_a_space_can_be_pickled(space: Space) -> None:
    put_texts(space, ["a"])
    copy = pickle.loads(pickle.dumps(space))  # noqa: S301
    np.testing.assert_array_equal(copy.read(text_keys(["a"])), fake_features(["a"]))


def test_a_shard_damaged_after_it_was_indexed_makes_its_rows_missing(space: Space) -> None:
    put_texts(space, sentences(50))
    reader = Space(space.path)
    assert not reader.missing(text_keys(sentences(50))).any()
    path = space.shard_path(space.shard_names()[0])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(MissingFeatures, match=f"shard {path.stem} is damaged"):
        reader.rows(text_keys(sentences(50)))


def test_a_folder_without_a_definition_is_not_a_feature_space(tmp_path: Path) -> None:
    with pytest.raises(StoreFormatError, match=r"it has no space\.json"):
        Space(tmp_path)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_kind_of_nan_and_infinity_is_refused_and_no_finite_number(tmp_path: Path, dtype: str) -> None:
    space = open_store(tmp_path).space(fake_space(storage_dtype=dtype))
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    smallest_nan, sign = np.array(np.inf, dtype).view(unsigned) + 1, unsigned.type(1 << 8 * unsigned.itemsize - 1)
    nans = np.array([smallest_nan, smallest_nan | sign], unsigned).view(dtype)
    for number, bad in enumerate([np.inf, -np.inf, *nans]):
        features = np.zeros((2, 8), dtype)
        features[1, 7] = bad
        with pytest.raises(NotFinite) as caught:
            space.put(text_keys([f"a{number}", "b"]), features, np.ones(2), producer={})
        assert caught.value.positions == (1,)
    extremes = np.finfo(dtype)
    finite = np.array([extremes.max, extremes.min, -0.0, 0.0, 1.0, -1.0, extremes.tiny, -extremes.tiny], dtype)
    space.put(text_keys(["c"]), finite[None], np.ones(1), producer={})
    np.testing.assert_array_equal(space.read(text_keys(["c"])), finite[None])


def test_an_empty_space_counts_no_keys(space: Space) -> None:
    assert space.count() == 0
    put_texts(space, sentences(3))
    put_texts(space, sentences(3, start=2))
    assert space.count() == 5


def test_a_producer_too_long_for_an_attribute_is_refused(space: Space) -> None:
    with pytest.raises(ValueError, match="attribute producer has"):
        space.put(text_keys(["a"]), fake_features(["a"]), [1], producer={"note": "x" * 40_000})
    assert space.shard_names() == []


@pytest.mark.parametrize("field", ["dim", "max_length", "definition"])
def test_a_definition_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        fake_space(**{field: 0})
    assert getattr(fake_space(**{field: 1}), field) == 1


def test_scattered_rows_may_be_read_ahead_and_need_a_copy(space: Space) -> None:
    put_texts(space, sentences(200))
    rows = space.rows(text_keys(sentences(200)[::2]))
    rows.read_soon(0, 100)
    with pytest.raises(ValueError, match=r"^the rows may be in several shards: a copy is needed$"):
        np.asarray(rows, copy=False)
    np.testing.assert_array_equal(np.asarray(rows), fake_features(sentences(200)[::2]))


def test_a_producer_is_stored_as_sorted_json(space: Space) -> None:
    name = space.put(text_keys(["a"]), fake_features(["a"]), [1], producer={"b": "2", "a": "1"})
    assert space.open_shard(name).header.producer == '{"a":"1","b":"2"}'
