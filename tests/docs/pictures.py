"""Pictures of the screens and of the report, for the documentation: ``python -m tests.docs.pictures``.

Screens are SVG, from the fixed data of the golden screens, and a test compares them. The report is a photograph by
Chromium, whose fonts differ between machines: it is made again only on request.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from jdq.worker.heads.options import DEFAULT_HEAD, HeadOptions
from jdq.worker.report.page import render
from tests.cli.screens import SCREENS
from tests.docs.generate import DOCS
from tests.report.test_browser import compared
from tests.report.test_report import subject_of

FOLDER = DOCS / "pictures"
# Wide tables become paragraphs in a narrow terminal.
COLUMNS = {"workers": 140}
# Rich's own template loads a font from elsewhere.
TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="TITLE">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#292929"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
SUBJECTS = {"engineering": "pumps and turbines", "healthcare": "nurses on a ward", "sales": "key accounts"}


def screens() -> dict[Path, str]:
    """Each picture of a screen."""
    return {FOLDER / f"{name}.svg": picture(name) for name in SCREENS}


def picture(name: str) -> str:
    """The screen as SVG."""
    columns = COLUMNS.get(name, 100)
    text = re.sub(r"\x1b\[\?25[lh]|\x1b\[\d*[AK]|\r", "", SCREENS[name](columns)).rstrip("\n")
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    title = f"jdq {name}"
    return console.export_svg(title=title, code_format=TEMPLATE.replace("TITLE", title), unique_id=f"jdq-{name}")


def report() -> str:
    """The page of a report with invented texts."""
    labels = [list(SUBJECTS)[n % 3] for n in range(240)]
    subject = subject_of(HeadOptions(head=DEFAULT_HEAD), labels, noise=2.0)
    texts = [f"We look for somebody for {SUBJECTS[label]}, posting {n}." for n, label in enumerate(labels)]
    subject = replace(subject, name=f"{DEFAULT_HEAD} on postings", dataset="postings", texts=texts)
    rows = [
        compared(subject, name=f"{DEFAULT_HEAD} k3v9x2pq", details=("C=1.0",), is_subject=True),
        compared(subject_of(HeadOptions(head="mlp"), labels, noise=2.0), name="mlp a2b3c4d5", details=("hidden=128",)),
    ]
    return render(replace(subject, compared=rows))


def photograph(path: Path) -> None:
    """Writes the top of the report as a JPEG, by Chromium."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "report.html"
        page_file.write_text(report(), encoding="utf-8")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1250}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.screenshot(path=path, type="jpeg", quality=70)
        browser.close()


def main() -> None:
    """Writes all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for path, svg in screens().items():
        path.write_text(svg, encoding="utf-8")
    photograph(FOLDER / "report.jpg")


if __name__ == "__main__":
    main()
