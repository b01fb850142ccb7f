"""Safetensors files are read without their library: each value exactly, and no file that does not match its header."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from jdq.worker.encoder import weights as weights_module
from jdq.worker.encoder.errors import DamagedEncoder
from jdq.worker.encoder.weights import StoredTensor, Weights

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def file_of(header: Any, body: bytes = bytes(8)) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def read(folder: Path, content: bytes) -> Weights:
    (folder / "model.safetensors").write_bytes(content)
    return Weights(folder)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_floating_type_is_a_copy_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = torch.tensor([[1.5, -2.0, 0.25], [3.0, 4.0, -0.125]], dtype=dtype)
    save_file({"w": stored}, tmp_path / "model.safetensors")
    loaded = Weights(tmp_path)["w"].load()
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded, stored.float(), rtol=0, atol=0)
    loaded.zero_()
    torch.testing.assert_close(Weights(tmp_path)["w"].load(), stored.float(), rtol=0, atol=0)


def test_a_tensor_without_numbers_keeps_its_shape() -> None:
    assert StoredTensor(dtype="F32", shape=(0, 3), data=memoryview(b"")).load().shape == (0, 3)


def test_a_weight_of_whole_numbers_is_refused_by_type(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2, dtype=torch.int64)}, tmp_path / "model.safetensors")
    with pytest.raises(DamagedEncoder, match=r"^a weight is stored as I64; expected one of F64, F32, F16, BF16$"):
        Weights(tmp_path)["w"].load()


def test_all_tensors_are_listed_and_the_metadata_is_none_of_them(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1), "b": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    weights = Weights(tmp_path)
    assert (sorted(weights), len(weights), "a" in weights, "__metadata__" in weights) == (["a", "b"], 2, True, False)


@pytest.mark.parametrize(
    "entry",
    [
        {**F32, "data_offsets": [4, 8]},
        {**F32, "data_offsets": [-4, 4]},
        {**F32, "data_offsets": [8, 0]},
        {**F32, "data_offsets": [4, 12]},
        {**F32, "shape": [3]},
        {**F32, "shape": [1, 1]},
        {"dtype": "F32", "shape": [2]},
        [],
    ],
)
def test_a_tensor_that_does_not_match_the_file_is_refused(entry: Any, tmp_path: Path) -> None:
    with pytest.raises(DamagedEncoder, match=r"model\.safetensors is not a complete safetensors file: "):
        read(tmp_path, file_of({"w": entry}))


def test_a_place_in_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedEncoder, match=r"a tensor of shape \(3,\) is at bytes 0 to 12 of 8"):
        read(tmp_path, file_of({"w": {**F32, "shape": [3], "data_offsets": [0, 12]}}))


def test_tensors_side_by_side_have_their_own_bytes(tmp_path: Path) -> None:
    body = struct.pack("<4f", 1, 2, 3, 4)
    weights = read(tmp_path, file_of({"a": F32, "b": {**F32, "data_offsets": [8, 16]}}, body))
    assert [weights[name].load().tolist() for name in "ab"] == [[1, 2], [3, 4]]


def test_a_type_that_jdq_does_not_load_is_left_to_be_refused_when_it_is_used(tmp_path: Path) -> None:
    weights = read(tmp_path, file_of({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}))
    with pytest.raises(DamagedEncoder, match="stored as F8_E4M3"):
        weights["w"].load()


def test_a_file_may_be_no_longer_than_its_header(tmp_path: Path) -> None:
    assert len(read(tmp_path, file_of({}, b""))) == 0
    with pytest.raises(DamagedEncoder, match=r"is not a safetensors file: it has 7 bytes"):
        read(tmp_path, bytes(7))
    with pytest.raises(DamagedEncoder, match="was truncated: its header claims 3 bytes"):
        read(tmp_path, struct.pack("<Q", 3) + b"{}")
    with pytest.raises(DamagedEncoder, match="not a complete safetensors file"):
        read(tmp_path, bytes(8))


def test_a_header_beyond_the_formats_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of({"w": F32})
    length = int.from_bytes(content[:8], "little")
    monkeypatch.setattr(weights_module, "MAX_HEADER_BYTES", length)
    assert len(read(tmp_path, content)) == 1
    monkeypatch.setattr(weights_module, "MAX_HEADER_BYTES", length - 1)
    with pytest.raises(DamagedEncoder, match=f"its header claims {length} bytes"):
        read(tmp_path, content)


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    """A folder whose index names two files."""
    for name in ("a", "b"):
        save_file({name: torch.ones(2)}, tmp_path / f"model-{name}.safetensors")
    names = {"a": "model-a.safetensors", "b": "model-b.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return tmp_path


def test_a_single_file_wins_over_an_index(indexed: Path) -> None:
    assert sorted(Weights(indexed)) == ["a", "b"]
    save_file({"c": torch.ones(1)}, indexed / "model.safetensors")
    assert list(Weights(indexed)) == ["c"]


def test_a_file_that_the_index_names_and_nobody_downloaded_is_named(indexed: Path) -> None:
    (indexed / "model-b.safetensors").unlink()
    with pytest.raises(DamagedEncoder) as refused:
        Weights(indexed)
    rest = "which model.safetensors.index.json names: the download is incomplete"
    assert str(refused.value) == f"{indexed} lacks model-b.safetensors, {rest}"


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"{}", b'{"weight_map": 3}', b"null"])
def test_an_index_that_is_none_is_refused(indexed: Path, content: bytes) -> None:
    (indexed / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(DamagedEncoder, match=r"index\.json is not an index of weights: "):
        Weights(indexed)


@pytest.mark.parametrize("name", ["model.bin", 5, "deeper/model-a.safetensors", "../model-a.safetensors"])
def test_an_index_may_name_only_safetensors_files_beside_it(indexed: Path, name: object) -> None:
    (indexed / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(DamagedEncoder) as refused:
        Weights(indexed)
    assert str(refused.value).endswith(f"names {name!r}, which is not a safetensors file beside it")
