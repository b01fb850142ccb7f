"""Errors of the Python API suggest Python calls."""

from pathlib import Path

import pandas as pd
import pytest

from jdq import Client
from jdq.client import BadRequest, JobNotSucceeded
from jdq.client.suggestions import in_python
from jdq.store.errors import StoreError


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("jdq submit extract data.csv", 'client.extract("data.csv")'),
        ("jdq submit extract a.csv --missing-labels keep --skip-empty", 'client.extract("a.csv", skip_empty=True)'),
        (
            "jdq submit extract a.csv 'b c.csv' --text-column x --text-column y",
            'client.extract(["a.csv", "b c.csv"], text=["x", "y"])',
        ),
        (
            "jdq submit extract a.csv --delimiter tab --skip-lines 2 --label-column k",
            'client.extract(pandas.read_csv("a.csv", sep="\\t", skiprows=2, dtype=str), label="k")',
        ),
        (
            "jdq submit predict a.xlsx --head h --sheet s",
            'client.predict(pandas.read_excel("a.xlsx", sheet_name="s", dtype=str), head="h")',
        ),
        ("jdq submit train-head posts", 'client.train_head("posts")'),
        ("jdq submit fine-tune a.csv --missing-labels keep", "jdq submit fine-tune a.csv --missing-labels keep"),
        ("jdq submit extract a.csv --no-header", "jdq submit extract a.csv --no-header"),
        ("jdq status extract-1", 'client.job("extract-1").describe()'),
        ("jdq retry extract-1", 'client.job("extract-1").retry()'),
        ("jdq cancel extract-1 --force", 'client.job("extract-1").cancel(force=True)'),
        ("jdq store ls", "client.store.datasets.names()"),
        ("jdq store verify --repair", "jdq store verify --repair"),
        ("jdq up", "jdq up"),
        ("--precision float32", 'precision="float32"'),
        ("--batch-size 8, or --freeze encoder", 'batch_size=8, or freeze="encoder"'),
        ("a smaller --max-length", "a smaller max_length"),
        ("hf download x --local-dir DIR, and --encoder DIR", "hf download x --local-dir DIR, and encoder=DIR"),
        ("--search=50", "trials=50"),
        ("--priority normal", 'priority="normal"'),
    ],
)  # fmt: skip
def test_a_command_becomes_a_call_where_there_is_one(command: str, call: str) -> None:
    assert in_python(f"a fact\n  try: {command}") == f"a fact\n  try: {call}"


def test_a_data_frame_is_called_data(local: Client) -> None:
    with pytest.raises(StoreError) as caught:
        local.extract(pd.DataFrame({"a": ["x", "y"], "b": ["1", "2"]}), encoder="hash:8")
    assert str(caught.value) == "no column 'text' in data; it has: a, b\n  try: client.extract(data, text=\"a\")"
    with pytest.raises(StoreError) as caught:
        local.extract(["x", "y\0"], encoder="hash:8")
    assert str(caught.value) == "data has NUL characters in row 2"


def test_the_suggestion_is_of_the_method_that_was_called(local: Client, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("body,kind\nx,k\n,l\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"try: client.fine_tune\(.*, skip_empty=True\)"):
        local.fine_tune(str(file), text="body", label="kind", encoder="hash:8")
    with pytest.raises(StoreError, match=r'try: client.predict\(.*a.csv", head="train-head-.*", text="body"\)'):
        local.predict(str(file), text="nope", head=local.train_head(_extracted(local)).wait())


def test_an_error_that_is_made_of_values_has_the_call_below(local: Client) -> None:
    with pytest.raises(StoreError) as caught:
        local.train_head("nope")
    assert caught.value.__notes__ == ['in Python: client.extract("data.csv")']


def test_a_job_s_error_suggests_calls_too(local: Client) -> None:
    with pytest.raises(BadRequest, match="try: trials=50"):
        local.search(_extracted(local), trials=0)
    with pytest.raises(JobNotSucceeded) as caught:
        local.extract(["x"], encoder="some/nothing").wait()
    assert "pass encoder=DIR" in str(caught.value)


def test_rows_without_a_text_are_left_out_on_request(local: Client) -> None:
    assert local.extract(["x", " ", "y"], encoder="hash:8", skip_empty=True).result().shape == (2, 8)


def _extracted(local: Client) -> str:
    texts = [f"text {n}" for n in range(20)]
    local.extract(texts, label=["a", "b"] * 10, name="two", encoder="hash:8").wait()
    return "two"
