"""Pages in Chromium: nothing is cut at any width, and axe finds no violation."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 768, 1200)
# Elements whose right end is outside the window, unless the table around them scrolls.
OUTSIDE = """() => [...document.querySelectorAll("body *")]
  .filter(e => !e.closest(".scroll > *") && e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.outerHTML.slice(0, 120))"""
# Elements that hide a part of their text.
HIDDEN = """() => [...document.querySelectorAll("p,th,td,dd,h1,h2,span,.tile,.tiles")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && getComputedStyle(e).overflowX == "hidden")
  .map(e => e.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as playwright:
        program = CHROMIUM or playwright.chromium.executable_path
        if not Path(program).exists():
            pytest.skip("no Chromium: .venv/bin/playwright install chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def checked_at(page: Any, about: str, widths: Sequence[int] = WIDTHS) -> Iterator[int]:
    """Each width, after the page was checked at it."""
    for width in widths:
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (about, width)
        assert page.evaluate(OUTSIDE) == [], (about, width)
        assert page.evaluate(HIDDEN) == [], (about, width)
        found = Axe().run(page)
        assert found.violations_count == 0, (about, width, found.generate_report())
        yield width
