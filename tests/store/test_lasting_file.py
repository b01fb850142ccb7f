"""The file object for HDF5: a plain file while all goes well, and silent but honest after an error."""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdq.store.exports.lasting_file import LastingFile

STEPS = st.one_of(
    st.tuples(st.just("write"), st.binary(max_size=20)),
    st.tuples(st.just("readinto"), st.integers(0, 20)),
    st.tuples(st.just("truncate"), st.integers(0, 60)),
    st.tuples(st.just("seek"), st.integers(0, 60)),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    folder = tmp_path_factory.mktemp("files")
    with (folder / "a").open("x+b", buffering=0) as plain, (folder / "b").open("x+b") as target:
        yield plain, target


@given(st.lists(STEPS, max_size=30))
def test_without_errors_it_behaves_as_the_file_that_it_writes_to(
    files: tuple[Any, Any], steps: list[tuple[str, Any]]
) -> None:
    plain, target = files
    lasting = LastingFile(target)
    for file in (plain, lasting):
        file.truncate(0)
        file.seek(0)
    for name, value in steps:
        if name == "readinto":
            # HDF5 knows where its file ends: beyond it there are zeros instead of fewer bytes.
            expected, found = bytearray(value), bytearray(b"x" * value)
            plain.readinto(expected)
            assert lasting.readinto(memoryview(found)) == value and found == expected
        else:
            assert getattr(lasting, name)(value) == getattr(plain, name)(value)
        assert lasting.tell() == plain.tell()
    lasting.raise_failure()
    assert Path(target.name).read_bytes() == Path(plain.name).read_bytes()


@pytest.mark.parametrize("step", ["write", "readinto", "truncate"])
def test_the_first_error_is_kept_and_nothing_is_done_after_it(tmp_path: Path, step: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    fd = os.open(path, os.O_WRONLY if step == "readinto" else os.O_RDONLY)
    with io.FileIO(fd, "w" if step == "readinto" else "r") as file:
        lasting = LastingFile(file)
        lasting.raise_failure()
        getattr(lasting, step)(2 if step == "truncate" else bytearray(b"abc"))
        with pytest.raises(OSError, match=r"Bad file descriptor|Invalid argument") as first:
            lasting.raise_failure()
        assert first.value.errno in (errno.EBADF, errno.EINVAL)
        lasting.seek(2)
        assert lasting.write(b"xyz") == 3 and lasting.tell() == 5
        lasting.seek(0)
        assert lasting.readinto(buffer := bytearray(b"....")) == 4 and buffer == bytes(4)
        lasting.truncate(0)
        with pytest.raises(OSError, match=str(first.value.strerror)) as again:
            lasting.raise_failure()
        assert again.value is first.value
    assert path.read_bytes() == b"12345678"
