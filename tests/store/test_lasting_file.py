"""The file object for HDF5: a plain file while all goes well, and silent but honest after an error."""

from __future__ import annotations

import errno
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdq.store.files.lasting_file import LastingFile


class Failing(io.BytesIO):
    """A file on a disk that is full, or unreadable, from now on."""

    failing = True

    def _fail(self, *_: Any) -> Any:
        if self.failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, data: Any) -> int:
        self._fail()
        return super().write(data)

    def read(self, size: int | None = -1) -> bytes:
        self._fail()
        return super().read(size)

    def truncate(self, size: int | None = None) -> int:
        self._fail()
        return super().truncate(size)


STEPS = st.one_of(
    st.tuples(st.just("write"), st.binary(max_size=20)),
    st.tuples(st.just("read"), st.integers(0, 20)),
    st.tuples(st.just("truncate"), st.one_of(st.none(), st.integers(0, 60))),
    st.tuples(st.just("start"), st.integers(0, 60)),
    st.tuples(st.just("current"), st.integers(0, 20)),
    st.tuples(st.just("end"), st.integers(-5, 10)),
)
WHENCE = {"start": io.SEEK_SET, "current": io.SEEK_CUR, "end": io.SEEK_END}


@given(st.lists(STEPS, max_size=30))
def test_without_errors_it_behaves_as_the_file_that_it_writes_to(steps: list[tuple[str, Any]]) -> None:
    plain, target = io.BytesIO(), io.BytesIO()
    lasting = LastingFile(target)
    for name, value in steps:
        if name == "write":
            assert lasting.write(memoryview(value)) == plain.write(value)
        elif name == "read":
            # HDF5 knows where its file ends: beyond it there are zeros instead of fewer bytes.
            at = plain.tell()
            assert lasting.read(value) == plain.read(value).ljust(value, b"\0")
            plain.seek(at + value)
        elif name == "truncate":
            size = plain.tell() if value is None else value
            content = plain.getvalue()[:size].ljust(size, b"\0")  # a file grows, io.BytesIO does not
            at, plain = plain.tell(), io.BytesIO(content)
            plain.seek(at)
            assert lasting.truncate(value) == size
            target.seek(0, io.SEEK_END)
            target.write(b"\0" * (size - target.tell()))
        else:
            offset = max(value, -len(plain.getvalue())) if name == "end" else value
            assert lasting.seek(offset, WHENCE[name]) == plain.seek(offset, WHENCE[name])
        assert lasting.tell() == plain.tell()
    lasting.raise_failure()
    assert target.getvalue() == plain.getvalue()


def test_a_buffer_is_filled_to_its_end() -> None:
    lasting = LastingFile(io.BytesIO(b"abc"))
    buffer = bytearray(b"....")
    assert lasting.readinto(memoryview(buffer)) == 4 and buffer == b"abc\0"


@pytest.mark.parametrize("step", ["write", "read", "truncate"])
def test_the_first_error_is_kept_and_nothing_is_written_after_it(step: str) -> None:
    file = Failing(b"12345678")
    lasting = LastingFile(file)
    lasting.seek(2)
    assert {
        "write": lambda: lasting.write(memoryview(b"abc")),
        "read": lambda: len(lasting.read(3)),
        "truncate": lambda: lasting.truncate(3),
    }[step]() == 3
    file.failing = False
    assert lasting.tell() == (2 if step == "truncate" else 5)
    lasting.seek(0)
    assert lasting.write(memoryview(b"xyz")) == 3 and lasting.tell() == 3
    lasting.seek(0)
    assert lasting.read(3) == b"\0\0\0" and file.getvalue() == b"12345678"
    with pytest.raises(OSError, match="No space left") as caught:
        lasting.raise_failure()
    file.failing = True
    lasting.truncate(0)
    with pytest.raises(OSError, match="No space left") as again:
        lasting.raise_failure()
    assert again.value is caught.value


def test_the_end_moves_on_after_an_error_as_hdf5_expects() -> None:
    lasting = LastingFile(Failing())
    lasting.write(memoryview(b"abcdef"))
    assert lasting.seek(-2, io.SEEK_END) == 4
    lasting.write(memoryview(b"x"))
    assert lasting.seek(0, io.SEEK_END) == 6
