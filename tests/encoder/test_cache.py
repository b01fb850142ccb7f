"""Encoders stay in memory between jobs, up to a bound, and until their files change."""

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from jdq.worker.encoder.cache import EncoderCache
from jdq.worker.encoder.encoder import Encoder
from jdq.worker.encoder.loading import load_encoder


def test_a_loaded_encoder_stays_until_its_files_change(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    cache = EncoderCache()

    def get(max_length: int | None = None) -> Encoder:
        return cache.get(str(folder), max_length=max_length, precision="float32", device="cpu")

    first = get()
    assert get() is first
    assert get(100).identity.max_length == 100
    assert get() is first
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layers.0.fc1.bias"] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert get().identity.weights != first.identity.weights


def test_the_encoders_in_memory_stay_within_the_bound(tiny: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(tiny, tmp_path / str(n)) for n in range(3)]
    one = load_encoder(str(tiny)).network.size_bytes
    assert one > 64 * 4_000 * 4
    cache = EncoderCache(max_bytes=2 * one)
    loaded = [cache.get(str(f), max_length=None, precision="float32", device="cpu") for f in folders]
    assert cache.size_bytes == 2 * one
    assert cache.get(str(folders[2]), max_length=None, precision="float32", device="cpu") is loaded[2]
    assert cache.get(str(folders[0]), max_length=None, precision="float32", device="cpu") is not loaded[0]


def test_the_least_recently_used_encoder_leaves_memory_first(tiny: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(tiny, tmp_path / str(n)) for n in range(3)]
    cache = EncoderCache(max_bytes=2 * load_encoder(str(tiny)).network.size_bytes)

    def get(number: int) -> Encoder:
        return cache.get(str(folders[number]), max_length=None, precision="float32", device="cpu")

    first, second = get(0), get(1)
    assert get(0) is first
    get(2)
    assert get(0) is first
    assert get(1) is not second


def test_an_encoder_larger_than_the_bound_stays_by_itself_and_changed_files_leave_memory(
    tiny: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    cache = EncoderCache(max_bytes=0)
    one = cache.get(str(folder), max_length=None, precision="float32", device="cpu")
    assert cache.get(str(folder), max_length=None, precision="float32", device="cpu") is one
    cache.get(str(folder), max_length=100, precision="float32", device="cpu")
    assert cache.size_bytes == one.network.size_bytes
    large = EncoderCache()
    for text in ("first", "second"):
        (folder / "README.md").write_text(text)
        large.get(str(folder), max_length=None, precision="float32", device="cpu")
    assert large.size_bytes == one.network.size_bytes
