"""Files in other encodings: each error names the bytes and suggests the encoding."""

from __future__ import annotations

import pytest

from jdq.store.table import TableOptions
from tests.store.conftest import Failing


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["a", "é 영화가 정말 재미있었다"])
def test_wide_encodings_without_a_mark_are_suggested(failing: Failing, encoding: str, text: str) -> None:
    content = f"text,label\n{text},1\nb,2\n" * 3
    assert failing(content.encode(encoding)).endswith(f"--encoding {encoding}")


def test_bytes_that_are_not_utf_8_name_byte_and_line_and_how_they_would_read(failing: Failing) -> None:
    korean = "text,label\nfine,1\n영화가 정말 재미있었다 다시 보고 싶다,1\n별로였다 시간이 아깝다,0\n"
    message = failing(korean.encode("cp949"))
    assert message.startswith("data.csv is not UTF-8: byte 18, line 3 has bf b5 c8 ad")
    assert "as cp949 it reads: '영화가 정말" in message
    assert message.endswith("try: jdq submit extract data.csv --encoding cp949")


def test_one_latin_letter_suggests_the_common_encoding(failing: Failing) -> None:
    assert failing("text,label\ncafé,1\n".encode("latin-1")).endswith("--encoding cp1252")


def test_a_wrong_encoding_that_was_given_names_the_byte(failing: Failing) -> None:
    message = failing("text,label\nπ\n".encode(), TableOptions(encoding="ascii"))
    assert message.startswith("data.csv is not ASCII: byte 11, line 2 has cf 80")
    cut = failing("text,label\nx,1\n".encode("utf-16")[:-1])
    assert cut.startswith("data.csv is not UTF-16")


def test_an_unknown_encoding_and_a_bad_separator(failing: Failing) -> None:
    assert failing("text\na\n", TableOptions(encoding="kp949")).startswith("no encoding 'kp949' is known")
    message = failing("text\na\n", TableOptions(delimiter="::"))
    assert message.startswith("'::' cannot be a delimiter: it must be one character, or 'tab'\n")
    assert message.endswith("try: jdq submit extract data.csv --delimiter tab")


def test_bytes_that_are_not_utf_16_are_named_by_their_offset(failing: Failing) -> None:
    lone = "text,label\n".encode("utf-16") + b"\x00\xd8a\0"
    assert failing(lone).startswith("data.csv is not UTF-16: byte 24 has 00 d8")
