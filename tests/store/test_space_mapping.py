"""Files mapped side by side: each row is a row of one array, whatever the sizes and offsets are."""

import errno
import gc
import mmap
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.spaces import mmap_file
from jdq.store.spaces.mmap_file import HUGE_PAGE, PAGE, SMALLEST_MAP, Bytes, MappedFiles
from tests.store.fake_features import fake_space, put_texts, sentences


def maps_of(path: Path) -> int:
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc")
    return Path("/proc/self/maps").read_text().count(f"{path}\n")


def add(files: MappedFiles, path: Path, rows: np.ndarray, offset: int, size: int | None = None) -> tuple[Bytes, int]:
    """Write `rows` at `offset` of a file, and place it."""
    path.write_bytes(b"\7" * offset + rows.tobytes() + b"\7" * 9)
    with path.open("rb") as file:
        memory, first_row = files.add(file.fileno(), path.stat().st_size if size is None else size, offset)
    assert memory is not None
    return memory, first_row


@pytest.mark.parametrize(("dim", "dtype"), [(1, "float16"), (8, "float16"), (768, "float16"), (1023, "float32")])
def test_rows_of_several_files_are_rows_of_one_array(tmp_path: Path, dim: int, dtype: str) -> None:
    files, random, placed = MappedFiles(dim, dtype), np.random.default_rng(dim), []
    for number, (size, offset) in enumerate([(100, 8), (50_000, 4096), (3, 5), (5_000_000, 4096), (50_000, 514)]):
        rows = random.integers(0, 99, (-(-size // dim // 4), dim)).astype(dtype)
        placed.append((add(files, tmp_path / str(number), rows, offset), rows, offset))
    for number, ((memory, first_row), rows, offset) in enumerate(placed):
        np.testing.assert_array_equal(files.rows[first_row : first_row + len(rows)], rows)
        assert bytes(memory[offset : offset + rows.nbytes]) == rows.tobytes()
        assert bytes(memory[-9:]) == b"\7" * 9
        aligned = offset % np.gcd(PAGE, rows[0].nbytes) == 0
        assert maps_of(tmp_path / str(number)) == (len(memory) >= SMALLEST_MAP and aligned)
        assert not memory.flags.writeable
    assert files.rows.dtype == dtype and files.rows.shape[1] == dim


@pytest.mark.parametrize("dim", [1024, 768, 896])
def test_a_large_shard_is_mapped_where_huge_pages_can_be(tmp_path: Path, dim: int) -> None:
    files = MappedFiles(dim, "float16")
    for number in range(3):
        memory, _ = add(files, tmp_path / str(number), np.full((HUGE_PAGE // dim, dim), number, np.float16), 4096)
        assert memory.ctypes.data % HUGE_PAGE == 0
    first, second = (add(files, tmp_path / name, np.ones((20, dim), np.float16), 4096)[1] for name in "ab")
    assert second - first < HUGE_PAGE // (2 * dim)
    files = MappedFiles(1023, "float16")
    for number in range(3):
        rows = np.full((HUGE_PAGE // 1023, 1023), number, np.float16)
        _, first_row = add(files, tmp_path / str(number), rows, 4096)
    # So many steps of 2 MiB would use up the addresses.
    assert first_row * 2046 < 64 << 20


def test_a_shard_is_written_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, sizes, real = open_store(tmp_path).space(fake_space()), [], os.writev

    def noting(fd: int, pieces: list[memoryview]) -> int:
        sizes.append(sum(map(len, pieces)))
        return real(fd, pieces)

    monkeypatch.setattr(os, "writev", noting)
    path = space.shard_path(put_texts(space, sentences(1000)))
    assert sizes == [path.stat().st_size]


def test_more_files_than_addresses_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap_file, "LARGEST_RANGE", 8 * PAGE)
    files = MappedFiles(8, "float16")
    rows = np.ones((SMALLEST_MAP // 16, 8), np.float16)
    add(files, tmp_path / "a", rows, 0)
    with pytest.raises(OSError, match=f"the shards take more than {8 * PAGE} bytes of address space") as caught:
        add(files, tmp_path / "b", rows, 0)
    assert caught.value.errno == errno.ENOMEM


def test_half_as_many_addresses_are_taken_where_a_system_has_few(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = mmap_file._mmap, []

    def few(address: int | None, size: int, *rest: int) -> int:
        asked.append(size)
        if size > 1 << 40:
            raise OSError(errno.ENOMEM, "no addresses")
        return real(address, size, *rest)

    monkeypatch.setattr(mmap_file, "_mmap", few)
    assert MappedFiles(8, "float16").rows.nbytes == 1 << 40
    assert asked == [1 << 42, 1 << 41, 1 << 40]

    def none(address: int | None, size: int, *_: int) -> int:
        asked.append(size)
        raise OSError(errno.ENOMEM, "no addresses")

    monkeypatch.setattr(mmap_file, "_mmap", none)
    with pytest.raises(OSError, match="no addresses"):
        MappedFiles(8, "float16")
    assert asked[-1] == 1 << 29


@pytest.mark.parametrize("size", [100, SMALLEST_MAP - 1])
def test_a_small_file_that_is_shorter_than_it_was_is_an_error(tmp_path: Path, size: int) -> None:
    with pytest.raises(OSError, match=f"the file ends at 25, not at {size}"):
        add(MappedFiles(8, "float16"), tmp_path / "a", np.ones((1, 8), np.float16), 0, size)


def test_a_map_that_the_system_refuses_says_why() -> None:
    with pytest.raises(OSError, match=f"cannot map {SMALLEST_MAP} bytes: Bad file descriptor") as caught:
        MappedFiles(8, "float16").add(-1, SMALLEST_MAP, 0)
    assert caught.value.errno == errno.EBADF


def test_a_file_stays_mapped_as_long_as_an_array_needs_it(tmp_path: Path) -> None:
    files = MappedFiles(8, "float16")
    memory, first_row = add(files, tmp_path / "a", np.ones((4000, 8), np.float16), 0)
    row = files.rows[first_row + 3]
    del files, memory
    gc.collect()
    assert maps_of(tmp_path / "a") == 1 and row.tolist() == [1.0] * 8
    del row
    gc.collect()
    assert maps_of(tmp_path / "a") == 0


def test_the_pages_of_an_array_are_read_ahead_from_its_first_to_its_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    mmap_file.read_soon(array := np.ones(10_000)[3:])  # the system takes it
    monkeypatch.setattr(mmap_file, "_libc", lambda: SimpleNamespace(madvise=lambda *range_: asked.append(range_)))
    mmap_file.read_soon(array)
    [(start, size, advice)] = asked
    first = array.ctypes.data
    assert start % PAGE == 0 and 0 <= first - start < PAGE
    assert (start + size, advice) == (first + array.nbytes, mmap.MADV_WILLNEED)
