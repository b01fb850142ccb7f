"""What makes a feature space another one."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from jdq.store import open_store
from jdq.store.errors import StoreFormatError, UnknownSpace
from jdq.store.keys import text_key, text_keys
from jdq.store.spaces.definition import FeatureSpace
from tests.store.fake_features import fake_space, put_texts

CHANGES: dict[str, Any] = {
    "architecture": "bert-encoder",
    "weights": "2" * 32,
    "tokenizer": "2" * 32,
    "pooling": "mean",
    "max_length": 512,
    "cutting": "left",
    "storage_dtype": "float32",
    "precision": "bfloat16",
    "dim": 9,
    "definition": 2,
}


def test_the_digest_of_a_known_space_never_changes() -> None:
    # Folders of existing stores are named by it.
    assert fake_space().digest == "c0217cf254845b0a0f79500bc6390a7c"


def test_every_field_is_changed_below() -> None:
    assert set(CHANGES) == set(FeatureSpace.__struct_fields__)


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_is_another_space(field: str, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put_texts(store.space(fake_space()), ["a"])
    changed = store.space(fake_space(**{field: CHANGES[field]}))
    assert changed.digest != fake_space().digest
    assert changed.missing(text_keys(["a"])).all()


def test_a_definition_survives_its_json() -> None:
    assert msgspec.json.decode(fake_space().canonical_json(), type=FeatureSpace) == fake_space()


def test_an_unknown_field_in_space_json_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(fake_space().canonical_json()[:-1] + b',"x":1}', type=FeatureSpace)


def test_a_space_whose_definition_is_not_that_of_its_name_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    space = store.space(fake_space())
    (space.path / "space.json").write_bytes(fake_space(weights="other").canonical_json())
    with pytest.raises(StoreFormatError, match="not that of its folder"):
        store.open_space(space.digest)


def test_a_space_is_found_by_the_beginning_of_its_digest(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(UnknownSpace, match="the store has none yet"):
        store.open_space("ab")
    spaces = [store.space(fake_space(dim=dim)) for dim in range(1, 40)]
    assert store.open_space(spaces[0].digest[:12]).digest == spaces[0].digest
    assert [space.digest for space in store.spaces()] == sorted(space.digest for space in spaces)
    with pytest.raises(UnknownSpace, match=r"is the beginning of several; the store has: [0-9a-f]{32}, [0-9a-f]"):
        for digit in {space.digest[0] for space in spaces}:
            store.open_space(digit)


def test_a_text_key_is_the_digest_of_its_exact_bytes() -> None:
    assert text_key("").hex() == "cae66941d9efbd404e4d88758ea67670"
    different = ["a", "A", "a ", "a\n", "a\r\n", "\u00e9", "e\u0301", "\ufeffa"]
    assert len({text_key(text) for text in different}) == len(different)
    assert text_keys(different).shape == (len(different), 16)
