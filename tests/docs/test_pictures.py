"""Pictures are of today's screens, and messages on the page of errors are the program's."""

import re
from pathlib import Path

import pytest

from tests.docs.generate import DOCS
from tests.docs.pictures import FOLDER, screens
from tests.docs.test_pages import TEXTS


@pytest.mark.parametrize("path", screens(), ids=lambda path: path.stem)
def test_a_picture_shows_the_screen_of_today(path: Path) -> None:
    svg = screens()[path]
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert path.read_text(encoding="utf-8") == svg, "python -m tests.docs.pictures"


def test_pictures_are_small_used_and_described() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    for path in FOLDER.iterdir():
        assert path.stat().st_size < 150_000
        described = re.search(rf"!\[([^]]+)\]\(\.\./pictures/{re.escape(path.name)}\)", pages)
        assert described is not None and len(described[1]) > 20, path.name


def test_messages_on_the_page_of_errors_are_those_of_the_program() -> None:
    page = (DOCS / "how-to" / "troubleshoot.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    assert len(messages) > 35
    sources = {
        path: text for path, text in TEXTS.items() if path.parts[-1] != "troubleshoot.md" and "tests" not in path.parts
    }
    for message in messages:
        for part in filter(None, (part.strip() for part in re.split(r"\.\.\.|UTF-8", message))):
            assert any(part in text for text in sources.values()), part
