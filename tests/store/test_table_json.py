"""JSON Lines and JSON arrays."""

from pathlib import Path

from jdq.store.table import open_table
from tests.store.conftest import Failing
from tests.written_tables import rows_of


def test_a_json_array_is_a_table(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text('\ufeff [{"text": "a\\n", "label": 1.0},\n {"label": "2", "text": "b"}]', encoding="utf-8")
    assert rows_of(open_table(file)) == [("a\n", "1.0"), ("b", "2")]


def test_a_key_that_an_object_repeats_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"text": "a \\"text\\": "}\n{"text":"b","text":"c"}\n')
    table = open_table(file)
    assert rows_of(table) == [('a "text": ',), ("c",)]
    assert table.warnings() == [f"{file}: line 2: a name occurs twice in the object; the last one counts"]


def test_a_name_that_is_also_a_value_is_no_sign_of_a_missing_header(tmp_path: Path, failing: Failing) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"text": "text", "n": "1"}\n{"text": "b", "n": "2"}\n')
    table = open_table(file)
    assert (rows_of(table), table.warnings()) == ([("text", "1"), ("b", "2")], [])
    assert "--no-header" not in failing('{"a": "x", "b": "1"}\n{"a": "a", "b": "2"}\n', name="data.jsonl")


def test_what_is_no_json_lines_or_array_is_named(failing: Failing) -> None:
    def message(content: str | bytes) -> str:
        return failing(content, name="data.jsonl")

    assert message('{"text": "a"}\n[1]\n').startswith("data.jsonl: line 2 is not one JSON object")
    assert message('{"text": "a"}\n{"text": "b", "x": 1}\n').startswith("data.jsonl: line 2 has x, which the first")
    assert message('{"text": "a\\u0000"}\n').startswith("data.jsonl has NUL characters in row 1")
    assert message('{"text": "\\ud800"}\n').startswith("data.jsonl: line 1 is not one JSON object")
    assert message(b'{"text": "a"}\n{"text": "\xe9"}\n').startswith("data.jsonl is not UTF-8: byte 24, line 2")
    assert failing("[]", name="data.json") == "data.json is empty: it needs a header line and rows"
    assert failing('[{"text": "a"}, 1]', name="data.json").startswith("data.json: item 2 of the array is not an object")
    assert failing('[{"text": "a"}', name="data.json").startswith("data.json: it is not a JSON array")
    deep = failing('{"text": ' + "[" * 100_000, name="data.json")
    assert deep == "data.json: line 1 is not one JSON object: it is nested too deeply"
