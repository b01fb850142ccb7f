"""What may be wrong with rows: by row, and by columns, which only says where rows must be looked at."""

import pyarrow as pa
import pytest

from jdq.store.table.findings import Places, is_split, may_be_odd


@pytest.mark.parametrize(
    "cells",
    [
        ["2", 'Boots"Warm', ' and dry"'],
        ['Boots"""Warm', 'dry"'],
        ['a"b', "c", 'd"'],
        ['a "b', 'c"d', 'e"'],
    ],
)
def test_a_row_whose_quoted_cell_lost_its_delimiter_is_split(cells: list[str]) -> None:
    assert is_split(cells) == (cells[0] != 'a "b')
    assert may_be_odd([pa.array([cell]) for cell in cells], quotes=True)
    assert not may_be_odd([pa.array([cell]) for cell in cells], quotes=False)


@pytest.mark.parametrize(
    "cells",
    [
        ['a"b"'],
        ['a"b'],
        ['Boots"Warm"', 'dry"'],
        ['"Warm', 'dry"'],
        ['12" and', '14" screens'],
        ['Boots" Warm', 'dry"'],
        ['Boots "Warm', 'dry"'],
        ['Boots"Warm', 'dry" x'],
    ],
)
def test_other_rows_with_quotes_are_not_split(cells: list[str]) -> None:
    assert not is_split(cells)


def test_columns_in_which_each_row_has_one_odd_cell_are_not_odd() -> None:
    columns = [pa.array(['12"', "a", "b"]), pa.array(["a", '12"', '"b"'])]
    assert not may_be_odd(columns, quotes=True)
    assert may_be_odd([*columns, pa.array(["a", "b", '"'])], quotes=True) is False
    assert may_be_odd([*columns, pa.array(['"', "b", "c"])], quotes=True)


@pytest.mark.parametrize("text", ["\0", "It\u00e2\u20ac\u2122s", "\x1b$)C", "\ufffd", "\0\x0e\x1b\u00a9\u00e9\uff01"])
def test_garbled_text_and_nul_are_odd_in_any_row(text: str) -> None:
    assert may_be_odd([pa.array(["a", f"b{text}c"]), pa.array(["a", "b"])], quotes=False)
    assert not may_be_odd([pa.array(["a", f"b{text}c", "d"]).slice(2)], quotes=False)


def test_sound_text_is_not_odd() -> None:
    assert not may_be_odd([pa.array(["São Paulo, NÃO", "naïve café", "영화", "\uff01", "\u00a9"])], quotes=True)
    assert not may_be_odd([pa.array([], pa.string())], quotes=True)


def test_the_first_ten_places_are_kept_and_all_are_counted() -> None:
    places = Places()
    assert (bool(places), str(places)) == (False, "")
    for number in range(1, 13):
        places.add(number, "x")
    assert places.first == [(number, "x") for number in range(1, 11)]
    assert (places.count, str(places)) == (12, "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more")
    assert str(Places([(7, "")], 1)) == "row 7"
