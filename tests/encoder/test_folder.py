"""Files that are missing, damaged, unsafe or out of reach: an immediate error, with what to do next."""

import json
import shutil
import socket
import struct
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from jdq.worker.encoder import folder as folder_module
from jdq.worker.encoder.errors import DamagedEncoder, EncoderNotFound, UnsafeWeights
from jdq.worker.encoder.identity import describe
from jdq.worker.encoder.loading import load_encoder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_cache")
def test_an_unreachable_hub_is_reported_soon_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    before = time.monotonic()
    with pytest.raises(EncoderNotFound, match=r"(?s)facebook/bart-base is not a folder.*jdq model tiny DIR"):
        describe("facebook/bart-base")
    assert time.monotonic() - before < 5


@pytest.mark.usefixtures("no_cache")
def test_a_hub_that_does_not_answer_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(folder_module, "PROBE_TIMEOUT_S", 0.5)
        before = time.monotonic()
        with pytest.raises(EncoderNotFound, match="cannot be reached"):
            describe("facebook/bart-base")
        assert time.monotonic() - before < 5


@pytest.mark.usefixtures("no_cache")
def test_offline_mode_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderNotFound, match="HF_HUB_OFFLINE is set"):
        describe("facebook/bart-base")


def test_a_snapshot_on_this_machine_needs_no_network(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub"
    shutil.copytree(tiny, hub / "models--some--bart" / "snapshots" / "abc")
    (hub / "models--some--bart" / "refs").mkdir()
    (hub / "models--some--bart" / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert describe("some/bart") == describe(str(tiny))


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "a/b/c"])
def test_a_folder_that_does_not_exist_is_no_hub_name(name: str) -> None:
    with pytest.raises(EncoderNotFound, match="no folder"):
        describe(name)


@pytest.mark.usefixtures("no_cache")
def test_a_name_that_the_hub_cannot_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderNotFound, match="neither a local folder nor a possible name"):
        describe("bart base!!")


def test_a_file_is_no_encoder(copy: Path) -> None:
    with pytest.raises(EncoderNotFound, match="is a file; an encoder is a folder"):
        describe(str(copy / "model.safetensors"))


def test_a_pickle_is_never_read(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(UnsafeWeights, match=r"(?s)pytorch_model\.bin.*save_pretrained"):
        load_encoder(str(copy))
    assert not Path("hacked").exists()


def test_a_folder_without_config_or_weights_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DamagedEncoder, match=r"no config\.json"):
        describe(str(tmp_path))
    (copy / "model.safetensors").unlink()
    with pytest.raises(DamagedEncoder, match="has no weights"):
        describe(str(copy))


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "\udcff"])
def test_a_damaged_config_is_refused(text: str, copy: Path) -> None:
    (copy / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedEncoder, match=r"config\.json"):
        describe(str(copy))


def damaged(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**60) + b"{}",
        damaged([1]),
        damaged({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 800]}}),
        damaged({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}),
        damaged({"w": {"dtype": "F32", "shape": [2], "data_offsets": [-4, 4]}}),
        damaged({"w": {"dtype": "F32", "shape": "ab", "data_offsets": [0, 8]}}),
    ],
    ids=["empty", "short", "huge-header", "list", "beyond-the-file", "huge-shape", "negative", "words-for-numbers"],
)
def test_damaged_weights_are_told_and_never_obeyed(content: bytes, copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(DamagedEncoder, match=r"safetensors"):
        load_encoder(str(copy))


def test_truncated_weights_are_refused(copy: Path) -> None:
    complete = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(complete[: len(complete) // 2])
    with pytest.raises(DamagedEncoder, match="not a complete safetensors file"):
        load_encoder(str(copy))


def test_an_index_cannot_name_files_elsewhere(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy.parent / "other.safetensors")
    index = {"weight_map": {"w": "../other.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DamagedEncoder, match="not a safetensors file beside it"):
        load_encoder(str(copy))


def test_a_model_that_asks_for_its_own_code_is_refused(copy: Path) -> None:
    config = {"model_type": "own", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}, "vocab_size": 4_000}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "code.py").write_text("raise SystemExit('the code was run')")
    with pytest.raises(UnsafeWeights, match="needs its own code"):
        load_encoder(str(copy))
