"""Fixtures that every part's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real test data: JDQ_TEST_DATA, or shared/data beside the project; skips where it is absent."""
    folder = Path(os.environ.get("JDQ_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set JDQ_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def tokenizer_files(data_dir: Path) -> Path:
    """The folder with the real BART tokenizer's vocab.json and merges.txt."""
    return data_dir / "bart-tokenizer"
