"""Every example of docs/how-to/python.md runs, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.store.fake_datasets import write_store
from tests.store.fake_features import sentences

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "python.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JDQ_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    write_store(tmp_path / "store", sentences(300))
    text = PAGE.read_text()
    names: dict[str, object] = {}
    for found in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        # Blank lines in front, so that a traceback tells the line of the page.
        line = text.count("\n", 0, found.start(1))
        exec(compile("\n" * line + found.group(1), str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "posts" in printed
    assert "(0,) ('" in printed
    assert (tmp_path / "posts.h5").exists()
