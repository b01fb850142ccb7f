"""What may be wrong with a row, and where it is, so that one error reports all faults of a kind."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.table.chunk import as_numbers
from jdq.store.table.options import NAMED, rows

# What UTF-8 looks like in another encoding (no word has these pairs), what a lost character becomes, the bytes that
# switch alphabets in ISO-2022, and what cp1252's quotes and dashes are in Latin-1.
GARBLED = re.compile(
    "\u00e2[\u20ac\u0080]|\u00c2\u00a0|[\ufffd\x1b\x0e\x80\x91-\x97]"
    "|\u00c3[\u0178\u00a0\u00a1\u00a4\u00a7\u00a8\u00a9\u00aa\u00ad\u00b1\u00b3\u00b6\u00bc]"
)
# The first bytes of these and of NUL in UTF-8: most texts have none, and need no search.
_ODD_BEGINS = (b"\0", b"\x0e", b"\x1b", b"\xc2", b"\xc3", b"\xef")
_QUOTE_BEFORE_WORD = re.compile(r'"\w')


def may_be_odd(columns: Sequence[pa.Array], *, quotes: bool) -> bool:
    """Whether a cell may have NUL or what a text has that was read in the wrong encoding.

    `quotes`: or whether a row may be split.
    """
    data = b"".join(map(_bytes_of, columns))
    if any(begin in data for begin in _ODD_BEGINS) and (b"\0" in data or GARBLED.search(data.decode())):
        return True
    if not quotes or b'"' not in data:
        return False
    odd = sum(as_numbers(pc.count_substring(column, '"')) & 1 for column in columns)
    return bool(np.any(odd > 1))


def _bytes_of(column: pa.Array) -> memoryview:
    """The cells of a column of strings in UTF-8, one after another."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(data or b"")[ends[0] : ends[-1]]


def quotes_a_word(text: str) -> bool:
    """Whether a word begins behind a quote that is not behind a space."""
    return any(not text[at.start() - 1 : at.start()].isspace() for at in _QUOTE_BEFORE_WORD.finditer(text))


def is_split(cells: Sequence[str]) -> bool:
    """Whether a quoted cell seems to have lost the delimiter before it, so that those inside it have divided it."""
    odd = [cell for cell in cells if cell.count('"') % 2]
    return len(odd) > 1 and odd[-1].endswith('"') and not odd[0].startswith('"') and quotes_a_word(odd[0])


@dataclass(slots=True)
class Places:
    """Rows or lines, each with what is there: the first ten, and how many there were."""

    first: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0

    def add(self, number: int, what: str = "") -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append((number, what))

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return rows([number for number, _ in self.first], self.count) if self else ""
