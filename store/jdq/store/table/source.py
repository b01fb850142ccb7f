"""A user's file, opened once: passes over its bytes, unpacked where it is packed, and proof that it did not change."""

import contextlib
import hashlib
import io
import lzma
import os
import shutil
import sys
import tempfile
import weakref
import zipfile
import zlib
from pathlib import Path
from typing import IO

import pyarrow as pa

from jdq.store.table.options import TableError, TableOptions, some

READ_BYTES = 1 << 18
# A line without an end would all be in memory. A cell of 16 Mi characters has at most this many bytes.
LINE_BYTES = 1 << 26
# Tables shrink to a half or a tenth; a file of 10 MiB that unpacks to 10 GiB was made to fill a disk.
UNPACKED_FREELY, MOST_UNPACKED = 1 << 26, 200
WORKBOOK = "workbook"
# By the first bytes of a file. A workbook is a zip archive, or of Microsoft's older format.
PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"\xd0\xcf\x11\xe0", WORKBOOK),
)
PACKED_ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")
STDIN = "-"


class Source:
    """One file, and how the user says to read it. `path` is its name in messages.

    `packing` is None, or one of PACKED; `name` is that of the table, without the ending of a packed file.
    Raises TableError where the file cannot be read, or holds more than one file.
    """

    def __init__(self, path: Path, descriptor: int, options: TableOptions, *, is_copy: bool = False) -> None:
        self.path = path
        self.options = options
        self._fd = descriptor
        self._is_copy = is_copy
        weakref.finalize(self, os.close, descriptor)
        self._before = os.fstat(descriptor)
        self._sha256: str | None = None
        self.size_bytes = self._before.st_size
        head = os.pread(descriptor, 8, 0)
        self.packing = next((name for magic, name in PACKED if head.startswith(magic)), None)
        self.name = path.name.removesuffix(path.suffix) if path.suffix.lower() in PACKED_ENDINGS else path.name
        if self.packing == "zip":
            self._look_into_zip()

    def error(self, fact: str, *arguments: str) -> TableError:
        """An error that ends with the user's command on this file with these arguments, where there are any."""
        return TableError(fact + (self.options.try_with(self.path, *arguments) if arguments else ""))

    def open(self) -> io.BufferedReader:
        """A new pass from the start, unpacked. Reading raises TableError for damage and a line without an end."""
        return io.BufferedReader(_Guarded(self), READ_BYTES)

    def raw(self) -> "_Bytes":
        """A new pass over the bytes as they are on disk, which can be seeked."""
        return _Bytes(self)

    def text(self, encoding: str) -> io.TextIOWrapper:
        """A new pass, decoded; line ends stay as they are."""
        return io.TextIOWrapper(self.open(), encoding=encoding, newline="")

    def head(self, size: int) -> bytes:
        """The first bytes, unpacked."""
        with self.open() as stream:
            return stream.read(size)

    def sha256(self) -> str:
        """The digest of the bytes on disk: of those that the last whole pass has read, if there was one."""
        if self._sha256 is None:
            with io.BufferedReader(self.raw(), READ_BYTES) as stream:
                while stream.read(READ_BYTES):
                    pass
        assert self._sha256 is not None
        return self._sha256

    def check_unchanged(self) -> None:
        """Raises TableError where the file was written to, replaced or deleted since it was opened."""
        now = os.fstat(self._fd)
        is_there = self._is_copy
        with contextlib.suppress(FileNotFoundError):
            is_there = is_there or os.path.samestat(self.path.stat(), now)
        written = (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns)
        if written or not is_there:
            raise TableError(f"{self.path} was changed while it was read; nothing was imported")

    def check_expansion(self, packed: int, unpacked: int) -> None:
        """Raises TableError where so many bytes came out of so few that the file is not a table."""
        if unpacked > UNPACKED_FREELY and unpacked > MOST_UNPACKED * packed:
            fact = f"{self.path} unpacks to more than {MOST_UNPACKED} times its size"
            raise TableError(f"{fact}; if it is a table nevertheless, unpack it first")

    def _look_into_zip(self) -> None:
        try:
            with zipfile.ZipFile(self.raw()) as archive:
                files = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise TableError(f"{self.path} is a damaged zip archive: {error}") from None
        names = [info.filename for info in files]
        tables = [info.filename for info in files if _is_table(info)]
        self.check_expansion(self.size_bytes, sum(info.file_size for info in files))
        if {"xl/workbook.xml", "xl/workbook.bin", "content.xml"} & set(names):
            self.packing, self.name = WORKBOOK, self.path.name
        elif "word/document.xml" in names:
            raise TableError(f"{self.path} is a Word document, not a table")
        elif len(tables) != 1:
            raise TableError(f"{self.path} holds {len(tables)} files: {some(tables)}; unpack it, and name the tables")
        else:
            self.name = Path(tables[0]).name


def _is_table(info: zipfile.ZipInfo) -> bool:
    """Folders, and what macOS adds to archives, are not."""
    return not info.is_dir() and not info.filename.startswith("__MACOSX/")


class _Bytes(io.RawIOBase):
    """The bytes of a file from the start. Reads of different passes do not disturb each other."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._fd = source._fd
        self.position = 0
        self._hash = hashlib.sha256()
        self._hashed = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: os.fstat(self._fd).st_size}[whence]
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        size = os.preadv(self._fd, [buffer], self.position)
        if self.position == self._hashed:
            self._hash.update(memoryview(buffer)[:size])
            self._hashed += size
            if size == 0:
                self._source._sha256 = self._hash.hexdigest()
        self.position += size
        return size


class _Guarded(io.RawIOBase):
    """Unpacked bytes, bounded: no line without an end, and no more than a table can unpack to."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._raw = source.raw()
        self._stream = _unpacked(source.packing, io.BufferedReader(self._raw, READ_BYTES)) if source.packing else None
        self._unpacked = 0
        self._line_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._raw.read(len(buffer)) if self._stream is None else self._unpack(self._stream, len(buffer))
        end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._line_bytes = self._line_bytes + len(data) if end < 0 else len(data) - end
        if self._line_bytes > LINE_BYTES:
            raise TableError(f"{self._source.path} has a line of more than {LINE_BYTES:,} bytes: is it a table?")
        buffer[: len(data)] = data
        return len(data)

    def _unpack(self, stream: IO[bytes], size: int) -> bytes:
        source = self._source
        try:
            data = stream.read(size)
        # Every packing has errors of its own.
        except (EOFError, OSError, RuntimeError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            raise TableError(f"{source.path} cannot be unpacked ({source.packing}): {error}") from None
        self._unpacked += len(data)
        source.check_expansion(self._raw.position, self._unpacked)
        return data


def _unpacked(packing: str, packed: IO[bytes]) -> IO[bytes]:
    if packing == "xz":
        return lzma.open(packed)
    if packing == "zip":
        archive = zipfile.ZipFile(packed)
        return archive.open(next(filter(_is_table, archive.infolist())))
    stream: IO[bytes] = pa.CompressedInputStream(pa.PythonFile(packed), packing)
    return stream


def open_source(file: str, options: TableOptions) -> Source:
    """The file, standard input for "-", or what a URL names; the last two are copied to a temporary file first.

    Raises TableError.
    """
    if file == STDIN:
        return _copied(Path(STDIN), sys.stdin.buffer, options)
    if "://" in file:
        return _fetched(file, options)
    path = Path(file)
    if not path.exists():
        raise TableError(f"no such file: {path} (in {Path.cwd()})")
    if not path.is_file():
        raise TableError(f"{path} is not a regular file: a table is read more than once; use - to read a pipe")
    try:
        return Source(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC), options)
    except PermissionError:
        raise TableError(f"no permission to read {path}") from None


def _copied(path: Path, stream: IO[bytes], options: TableOptions) -> Source:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, READ_BYTES)
        copy.flush()
        return Source(path, os.dup(copy.fileno()), options, is_copy=True)


def _fetched(url: str, options: TableOptions) -> Source:
    try:
        import fsspec
    except ImportError:
        raise TableError(f"reading {url} needs fsspec\n  try: pip install 'jdq[urls]'") from None
    try:
        with fsspec.open(url, "rb") as stream:
            return _copied(Path(url.rsplit("/", 1)[-1]), stream, options)
    except Exception as error:  # noqa: BLE001 - each package of a file system has errors of its own
        raise TableError(f"cannot read {url}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        # fsspec takes every failure of a web server for a missing file.
        return str(error.__cause__ or "no such file")
    return str(error) or type(error).__name__
