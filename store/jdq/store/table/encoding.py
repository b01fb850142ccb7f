"""A file's encoding: the user's, else that of its byte-order mark, else UTF-8; never a silent guess."""

import codecs
import string
import unicodedata

from jdq.store.table.options import TableError
from jdq.store.table.source import READ_BYTES, Source

SAMPLE_BYTES = 1 << 18
BEFORE_BYTES = 1 << 10
WORD_BYTES = 12  # of the word before it are shown, too
_LETTERS = string.ascii_letters.encode()
# UTF-32 before UTF-16: the little-endian marks begin with the same two bytes.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNMARKED = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
# The detector confuses these with each other; where no letter speaks against it, the commonest is shown first.
WESTERN = "cp1252"
# In cp1252 these are rare inside words, and are what letters of Polish, Turkish or Hungarian look like in it.
NOT_WESTERN = frozenset("ðþýÐÞÝ³±¶¹¼¾¿õûÕÛ")
# Shown before encodings that hardly any file is in, such as cp775 and ISO 8859-10.
USUAL = frozenset(
    """
    utf_8 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 iso8859_2 iso8859_7 iso8859_9 koi8_r
    cp949 euc_kr cp932 euc_jp shift_jis gb18030 big5
    """.split()  # noqa: SIM905 - a literal list would take a line per name
)


def choose_encoding(source: Source) -> str:
    """The codec to read the file with. Raises TableError for one that Python does not know, or that is not of texts."""
    head = source.head(4)
    marked = next((name for mark, name in MARKS if head.startswith(mark)), None)
    if source.options.encoding is None:
        return marked or "utf-8"
    name = _known(source.options.encoding)
    if name is None:
        raise source.error(f"unknown encoding {source.options.encoding!r}", "--encoding", "utf-8")
    if marked == "utf-8-sig" and name == "utf-8":
        return marked  # otherwise the mark would become part of the first column's name
    if name in ("utf-16", "utf-32") and marked != name:
        fact = f"{source.path} has no {name.upper()} byte-order mark, so the order of its bytes must be named"
        raise source.error(fact, "--encoding", unmarked_encoding(source) or f"{name}-le")
    return name


def unmarked_encoding(source: Source) -> str | None:
    """UTF-16 or UTF-32 where the file's first bytes are that, without a mark."""
    head = source.head(1 << 12)
    for name in reversed(UNMARKED):
        width = 4 if "32" in name else 2
        text = head[: len(head) // width * width].decode(name, errors="replace")
        letters = sum(character.isascii() for character in text)
        if text and "\0" not in text and "\ufffd" not in text[:-1] and letters > len(text) // 4:
            return name
    return None


def undecodable(source: Source, encoding: str) -> TableError:
    """The error for a file that is not in `encoding`: byte, line, and how likely encodings would read the bytes."""
    position, line, before, after = _first_undecodable(source, encoding)
    raw = after.splitlines()[0] if line else after[:40]
    where = f"byte {position}" + (f", line {line}" if line else "")
    fact = f"{source.path} is not {encoding.upper()}: {where} has {raw[:8].hex(' ')}"
    if wide := unmarked_encoding(source):
        return source.error(fact, "--encoding", wide)
    word = before[len(before.rstrip(_LETTERS)) :][-WORD_BYTES:] if line else b""
    readings = _readings(word + raw, before + after)
    if not readings:
        return TableError(f"{fact}; no other encoding fits either: is it a text file?")
    shown = "".join(f"\n  as {name} it reads: {text!r}" for name, text in readings)
    return source.error(fact + shown, "--encoding", readings[0][0])


def _known(encoding: str) -> str | None:
    """Python's name of the encoding. `hex` and `punycode` are codecs, too, but not of the texts of a file."""
    try:
        name = codecs.lookup(encoding).name
        "text".encode(name).decode(name)
        codecs.getincrementaldecoder(name)().decode(b"")
    except (LookupError, UnicodeError, ValueError):
        return None
    return None if name in ("punycode", "idna", "undefined") or "escape" in name else name


def _first_undecodable(source: Source, encoding: str) -> tuple[int, int | None, bytes, bytes]:
    """Byte offset, line (None for encodings of several bytes per character), the bytes before it, those from there."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = lines = 0
    with source.open() as stream:
        while block := stream.read(READ_BYTES):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=len(block) < READ_BYTES)
            except UnicodeDecodeError as error:
                data, start = error.object, error.start
                line = None if encoding.startswith(("utf-16", "utf-32")) else lines + _line_ends(data[:start]) + 1
                # Few bytes before it: what was read so far is mostly ASCII, which looks like every encoding.
                before = data[max(start - BEFORE_BYTES, 0) : start]
                return offset - pending + start, line, before, data[start:] + stream.read(SAMPLE_BYTES)
            lines += _line_ends(block)
            offset += len(block)
    return offset, None, b"", b""


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") or data.count(b"\r")


def _readings(raw: bytes, around: bytes) -> list[tuple[str, str]]:
    """At most three (encoding, the bytes read in it), likeliest first, no reading twice."""
    from charset_normalizer import from_bytes  # slow to import, and only a failure needs it

    likely = sorted((match.encoding for match in from_bytes(around)), key=lambda name: name not in USUAL)
    if (not likely or not _is_multibyte(raw, likely[0])) and _is_western(around):
        likely = [WESTERN, *likely]
    elif likely and likely[0] == WESTERN and len(likely) > 1 and not _is_western(around):
        likely = [*likely[1:], WESTERN]
    readings: dict[str, str] = {}
    for name in likely:
        try:
            text = raw.decode(name)[:30]
        except UnicodeDecodeError:
            continue
        readings.setdefault(text, name)
    return [(name, text) for text, name in readings.items()][:3]


def _is_western(data: bytes) -> bool:
    """Whether the bytes make sense in cp1252: few letters with accents, and none that it is mistaken for."""
    text = data.decode(WESTERN, errors="replace")
    letters = sum(character.isalpha() for character in text)
    accented = [c for c in text if not c.isascii() and unicodedata.category(c) in ("Ll", "Lu")]
    inside = sum(c in NOT_WESTERN and text[n - 1 : n].isalpha() for n, c in enumerate(text) if not c.isascii())
    return "\ufffd" not in text and len(accented) <= letters // 4 and inside <= max(2, len(accented) // 10)


def _is_multibyte(raw: bytes, encoding: str) -> bool:
    return len(raw.decode(encoding, errors="ignore")) < len(raw)
