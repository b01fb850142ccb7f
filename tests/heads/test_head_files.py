"""The format of a head's file, and what is refused, word for word."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load, save

from jdq.worker.heads import files
from jdq.worker.heads.errors import DamagedHead, UnsafeHead, WrongFeatures
from jdq.worker.heads.files import _digest, load_head, read_record, require_space, save_head
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.record import Origin
from jdq.worker.heads.train import train_head


@pytest.fixture(scope="module")
def trained(made: Any) -> Any:
    origin = Origin(space="ab" * 16, encoder="bart")
    return train_head(made.X, made.y, made.split, HeadOptions(head="linear-svm"), origin=origin)


def header_of(data: bytes) -> dict[str, str]:
    metadata: dict[str, str] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return metadata


def with_metadata(data: bytes, **changes: Any) -> bytes:
    metadata = {name: value for name, value in (header_of(data) | changes).items() if value is not None}
    return bytes(save(load(data), metadata=metadata))


def with_content(data: bytes, change: Any) -> bytes:
    content = json.loads(header_of(data)["head"])
    change(content)
    text = json.dumps(content)
    return with_metadata(data, head=text, digest=_digest(text, load(data)))


def test_the_header_says_what_the_file_is(trained: Any) -> None:
    data = save_head(trained)
    metadata = header_of(data)
    assert metadata.keys() == {"format", "format_version", "head", "digest"}
    assert (metadata["format"], metadata["format_version"]) == ("jdq-head", "1")
    content = json.loads(metadata["head"])
    assert (content["predictor"], content["settings"]) == ("layers", {"link": "softmax", "layers": 1})
    assert (content["record"]["seed"], content["record"]["separator"]) == (0, None)
    assert content.keys() == {"predictor", "settings", "record"}
    assert load(data).keys() == {"weights.0", "bias.0"}
    # Stored files hold this digest: 32 bytes of BLAKE2b over the JSON, then each array by name.
    digest = hashlib.blake2b(metadata["head"].encode(), digest_size=32)
    for name, array in sorted(load(data).items()):
        digest.update(f"\0{name}\0<f4\0{array.shape}\0".encode() + array.tobytes())
    assert metadata["digest"] == digest.hexdigest()


def test_the_digest_changes_with_names_types_shapes_and_values() -> None:
    array = np.arange(6, dtype=np.float32)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("{}", {"a": array}),
        ("{ }", {"a": array}),
        ("{}", {"b": array}),
        ("{}", {"a": array.reshape(2, 3)}),
        ("{}", {"a": array.view(np.int32)}),
        ("{}", {"a": array + 1}),
        ("{}", {"a": array, "b": array}),
        ("{}", {}),
    ]
    found = [_digest(text, arrays) for text, arrays in cases]
    assert len(set(found)) == len(found)
    assert _digest("", {"a": array, "b": array + 1}) == _digest("", {"b": array + 1, "a": array})
    assert _digest("", {"a": array.reshape(2, 3).T}) == _digest("", {"a": array.reshape(2, 3).T.copy()})


def test_arrays_in_any_order_of_memory_are_stored_row_by_row(trained: Any) -> None:
    (weights, bias), = trained.predictor.layers  # fmt: skip
    turned = replace(trained, predictor=replace(trained.predictor, layers=((np.asfortranarray(weights), bias),)))
    found, expected = save_head(turned), save_head(trained)
    assert header_of(found) == header_of(expected)
    assert (load(found)["weights.0"] == load(expected)["weights.0"]).all()


NEWER = "\n  try: a newer jdq"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "{path} is not a head of jdq: its format is 'other'"),
        ({"format": None}, "{path} is not a head of jdq: its format is None"),
        ({"format_version": "2"}, "{path} is a head of format version '2'; this jdq reads 1" + NEWER),
        ({"format_version": None}, "{path} is a head of format version None; this jdq reads 1" + NEWER),
        ({"digest": "00"}, "{path} was altered or damaged: its content is not what its digest says"),
        ({"digest": None}, "{path} was altered or damaged: its content is not what its digest says"),
        ({"head": None}, "{path} was altered or damaged: its content is not what its digest says"),
    ],
)
@pytest.mark.parametrize("read", [load_head, read_record])
def test_a_header_that_is_not_a_heads_is_refused(
    trained: Any, tmp_path: Path, changes: Any, message: str, read: Any
) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(with_metadata(save_head(trained), **changes))
    with pytest.raises(DamagedHead) as caught:
        read(path)
    assert str(caught.value) == message.format(path=path)


def test_a_header_without_metadata_or_content_is_refused(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(save({"a": np.zeros(1)}))
    with pytest.raises(DamagedHead, match="is not a head of jdq: its format is None"):
        load_head(path)
    arrays = load(save_head(trained))
    metadata = {"format": "jdq-head", "format_version": "1", "digest": _digest("", arrays)}
    path.write_bytes(save(arrays, metadata=metadata))
    with pytest.raises(DamagedHead, match="the head's record cannot be read: Input data was truncated"):
        load_head(path)


def test_a_truncated_file_is_named(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(save_head(trained)[:-1])
    with pytest.raises(DamagedHead) as caught:
        load_head(path)
    assert str(caught.value).startswith(f"{path} is not a complete safetensors file: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(predictor="trees"), "this version of jdq has no predictor 'trees'" + NEWER),
        (
            lambda c: c["record"].update(dim=15),
            "{path}: the arrays are of 16 features and 4 classes, the record says 15 and 4",
        ),
        (
            lambda c: c["record"].update(classes=["a", "b", "c"]),
            "{path}: the arrays are of 16 features and 4 classes, the record says 16 and 3",
        ),
        (
            lambda c: c["record"].pop("seed"),
            "{path}: the head's record cannot be read: Object missing required field `seed` - at `$.record`",
        ),
    ],
)
def test_content_that_does_not_fit_is_refused(trained: Any, tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(with_content(save_head(trained), change))
    with pytest.raises(DamagedHead) as caught:
        load_head(path)
    assert str(caught.value) == message.format(path=path)


@pytest.mark.parametrize(("encoder", "named"), [("bart", "bart"), ("", "encoder not named")])
def test_another_feature_space_is_refused_with_both_spaces(trained: Any, encoder: str, named: str) -> None:
    record = msgspec.structs.replace(trained.record, origin=Origin(space="ab" * 16, encoder=encoder))
    require_space(record, "ab" * 16)
    with pytest.raises(WrongFeatures) as caught:
        require_space(record, "cd" * 16)
    assert str(caught.value) == (
        f"the head was trained in the feature space abababababab ({named}); these features are of cdcdcdcdcdcd\n"
        "  try: jdq submit extract with the head's own encoder, or train a head on these features"
    )


def test_a_file_above_the_largest_size_is_not_read(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "head.safetensors"
    data = save_head(trained)
    path.write_bytes(data)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", len(data))
    assert load_head(path).record == trained.record
    monkeypatch.setattr(files, "MAX_FILE_BYTES", len(data) - 1)
    with pytest.raises(UnsafeHead, match="is not a regular file of at most 0 GiB"):
        load_head(path)
    monkeypatch.undo()
    with pytest.raises(UnsafeHead) as caught:
        load_head(tmp_path)
    assert str(caught.value) == f"{tmp_path} is not a regular file of at most 16 GiB"
