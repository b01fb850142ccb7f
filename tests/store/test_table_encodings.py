"""Files in other encodings: each error names the bytes and suggests the encoding."""

import pytest

from jdq.store.table import TableOptions
from jdq.store.table.source import READ_BYTES
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
    message = failing("text,label\ncafé,1\n".encode("latin-1"))
    assert "line 2 has e9 2c 31\n  as cp1252 it reads: 'café,1'\n" in message and message.endswith("--encoding cp1252")


def test_of_a_long_word_the_letters_near_the_bad_byte_are_shown(failing: Failing) -> None:
    message = failing(f"text,label\n{'x' * 40}café,1\n".encode("latin-1"))
    assert "  as cp1252 it reads: 'xxxxxxxxxcafé,1'" in message


def test_a_wrong_encoding_that_was_given_names_the_byte(failing: Failing) -> None:
    message = failing("text,label\nπ\n".encode(), TableOptions(encoding="ascii"))
    assert message.startswith("data.csv is not ASCII: byte 11, line 2 has cf 80")
    cut = failing("text,label\nx,1\n".encode("utf-16")[:-1])
    assert cut.startswith("data.csv is not UTF-16")


def test_an_unknown_encoding_and_a_bad_separator(failing: Failing) -> None:
    unknown = "unknown encoding 'kp949'\n  try: jdq submit extract data.csv --encoding utf-8"
    assert failing("text\na\n", TableOptions(encoding="kp949")) == unknown
    message = failing("text\na\n", TableOptions(delimiter="::"))
    assert message.startswith("'::' cannot be a delimiter: it must be one character, or 'tab'\n")
    assert message.endswith("try: jdq submit extract data.csv --delimiter tab")


def test_bytes_that_are_not_utf_16_are_named_by_their_offset(failing: Failing) -> None:
    lone = "text,label\n".encode("utf-16") + b"\x00\xd8a\0"
    assert failing(lone).startswith("data.csv is not UTF-16: byte 24 has 00 d8")


# name -> (encodings, of which the first is suggested for both; a text)
LANGUAGES: dict[str, tuple[list[str], str]] = {
    "Polish": (
        ["iso8859_2"],
        "Film był bardzo dobry, ale muzyka mi się nie podobała; polecam go tym, którzy lubią książki",
    ),
    "Hungarian": (["cp1250", "iso8859_2"], "Árvíztűrő tükörfúrógép, a hűség őre és az őszi eső"),
    "Czech": (["cp1250"], "Mam velice rad tento film a vsechny herce, je to šťastný konec"),
    "Turkish": (["cp1254", "iso8859_9"], "Bu şarkıyı çok beğendim, ışık ve ses güzeldi, değil mi"),  # noqa: RUF001
    "Greek": (["cp1253", "iso8859_7"], "η ταινία ήταν πολύ καλή και η μουσική επίσης"),
    "Russian": (["cp1251"], "фильм был очень хороший и музыка тоже понравилась"),
    "German": (["cp1252", "iso8859_1"], "Der Film war sehr schön, große Gefühle und viel Spaß für alle"),
    "French": (["cp1252"], "Le café était très bon, même s'il était déjà fermé à l'été"),
    "Japanese": (["cp932"], "映画はとても面白かったです。また見たいと思います"),
    "Chinese": (["gb18030"], "这部电影非常好看,我还想再看一遍"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_encoding_of_a_language_is_suggested_first(failing: Failing, language: str) -> None:
    encodings, text = LANGUAGES[language]
    for encoding in encodings:
        message = failing(("text,label\nplain,1\n" + f"{text},2\n" * 3).encode(encoding))
        assert message.startswith("data.csv is not UTF-8: byte ")
        assert message.endswith(f"\n  try: jdq submit extract data.csv --encoding {encodings[0]}")


def test_a_text_of_only_accented_letters_is_not_western(failing: Failing) -> None:
    greek = "και αλλα μαλλον ετσι ειναι καλα"  # without the letters that Western texts lack
    message = failing(("text,label\nplain,1\n" + f"{greek},2\n" * 3).encode("cp1253"))
    assert "\n  as koi8_r it reads: " in message
    assert "cp1252" not in message


def test_utf_8_is_suggested_where_another_encoding_was_named(failing: Failing) -> None:
    assert failing("text,label\nπ,1\n".encode(), TableOptions(encoding="ascii")).endswith("--encoding utf_8")


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
@pytest.mark.parametrize(("order", "text"), [("be", "plain"), ("le", "영화 검토")])
def test_the_order_of_bytes_must_be_named_without_a_mark(failing: Failing, name: str, order: str, text: str) -> None:
    content = "".join(f"{text},{n}\n" for n in range(3)).encode(f"{name}-{order}")
    assert failing(content, TableOptions(encoding=name)) == (
        f"data.csv has no {name.upper()} byte-order mark, so the order of its bytes must be named"
        f"\n  try: jdq submit extract data.csv --encoding {name}-{order}"
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_bad_bytes_far_down_are_named_by_byte_and_line(failing: Failing, newline: str) -> None:
    above = newline.join(["text,label", *["word,1"] * 60_000, ""]).encode()
    message = failing(above + "영화가 정말 재미있었다,2".encode("cp949") + newline.encode())
    assert message.startswith(f"data.csv is not UTF-8: byte {len(above)}, line 60002 has bf b5 c8 ad b0 a1 20 c1\n")
    assert "\n  as cp949 it reads: '영화가 정말 재미있었다,2'\n" in message


def test_a_character_that_the_end_of_a_block_divides_is_found_at_its_first_byte(failing: Failing) -> None:
    above = b"text\n" + b"x" * (READ_BYTES - 6)
    assert failing(above + "é".encode() + b"\n\xff\n").startswith(
        f"data.csv is not UTF-8: byte {READ_BYTES + 2}, line 3"
    )
    assert failing(above + b"\xc3(\n").startswith(f"data.csv is not UTF-8: byte {READ_BYTES - 1}, line 2 has c3 28")
