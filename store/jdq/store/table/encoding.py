"""A file's encoding: the user's, else that of its byte-order mark, else UTF-8; never a silent guess."""

from __future__ import annotations

import codecs
from pathlib import Path

from jdq.store.table.options import TableError, TableOptions

SAMPLE_BYTES = 1 << 20
# UTF-32 before UTF-16: the little-endian marks begin with the same two bytes.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Shown before the detector's first choice: a Western file that is read as cp1250 looks right except for a few letters.
COMMON = "cp1252"


def choose_encoding(file: Path, options: TableOptions) -> str:
    """The codec to read `file` with. Raises TableError for an encoding that Python does not know."""
    with file.open("rb") as stream:
        head = stream.read(4)
    marked = next((name for mark, name in MARKS if head.startswith(mark)), None)
    if options.encoding is None:
        return marked or "utf-8"
    try:
        name = codecs.lookup(options.encoding).name
    except LookupError:
        message = f"no encoding {options.encoding!r} is known"
        raise TableError(message + options.try_with(file, "--encoding", "utf-8")) from None
    if marked == "utf-8-sig" and name == "utf-8":
        return marked  # otherwise the mark would become part of the first column's name
    return name


def undecodable(file: Path, encoding: str, options: TableOptions) -> TableError:
    """The error for a file that is not in `encoding`: byte, line, and how likely encodings would read the bytes."""
    position, line, raw = _first_undecodable(file, encoding)
    where = f"byte {position}" + (f", line {line}" if line else "")
    message = f"{file} is not {encoding.upper()}: {where} has {raw[:8].hex(' ')}"
    readings = _readings(file, raw)
    if not readings:
        return TableError(f"{message}; no other encoding fits either: is it a text file?")
    shown = "".join(f"\n  as {name} it reads: {text!r}" for name, text in readings)
    return TableError(message + shown + options.try_with(file, "--encoding", readings[0][0]))


def _first_undecodable(file: Path, encoding: str) -> tuple[int, int | None, bytes]:
    """Byte offset, line (None for encodings of several bytes per character), and the bytes up to the line's end."""
    if encoding.startswith(("utf-16", "utf-32")):
        return _first_undecodable_wide(file, encoding)
    offset = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return offset + error.start, number, line[error.start :].rstrip(b"\r\n")
            offset += len(line)
    return offset, None, b""


def _first_undecodable_wide(file: Path, encoding: str) -> tuple[int, int | None, bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with file.open("rb") as stream:
        while block := stream.read(SAMPLE_BYTES):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return offset - pending + error.start, None, error.object[error.start : error.start + 40]
            offset += len(block)
    return offset, None, b""


def _readings(file: Path, raw: bytes) -> list[tuple[str, str]]:
    """At most three (encoding, the bytes read in it), likeliest first, no reading twice."""
    from charset_normalizer import from_bytes  # slow to import, and only a failure needs it

    with file.open("rb") as stream:
        sample = stream.read(SAMPLE_BYTES)
    matches = list(from_bytes(sample))
    likely = [match.encoding for match in matches]
    # Without a language that it recognizes, the detector's order of single-byte encodings is arbitrary.
    if matches and (likely[0].startswith("cp125") or (matches[0].coherence == 0 and not _is_multibyte(raw, likely[0]))):
        likely = [COMMON, *likely]
    readings: dict[str, str] = {}
    for name in likely:
        try:
            text = raw.decode(name, errors="strict")[:30]
        except UnicodeDecodeError:
            continue
        readings.setdefault(text, name)
    return [(name, text) for text, name in readings.items()][:3]


def _is_multibyte(raw: bytes, encoding: str) -> bool:
    return len(raw.decode(encoding, errors="ignore")) < len(raw)
