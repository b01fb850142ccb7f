"""Pictures of the screens and of the report, for the documentation: ``python -m tests.docs.pictures``.

Screens are SVG, from the fixed data of the golden screens, and a test compares them. The report and the pages of `jdq
web` are photographs by Chromium, whose fonts differ between machines: they are made again only on request.
"""

import io
import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.text import Text

from jdq.cli.client import Client
from jdq.cli.web.overview import SAMPLES, Observer, chart
from jdq.worker.heads.options import DEFAULT_HEAD, HeadOptions
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.report.page import render
from tests.chromium import CHROMIUM
from tests.cli.screens import JOBS, NOW, SCREENS, WORKERS
from tests.docs.generate import DOCS
from tests.report.test_browser import compared
from tests.report.test_report import subject_of
from tests.web.conftest import TOKEN, serving

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


@contextmanager
def web() -> Iterator[str]:
    """The address of the pages of the golden screens' jobs and workers."""
    known = {job.id: job for job in JOBS}
    jobbook: dict[str, Any] = {
        "ids": lambda *_: [*known],
        "read": lambda _, ids: [known[job] for job in known if job in ids],
        "workers": lambda _: WORKERS,
    }
    waves = [1.3 + math.sin(n / 40) + 0.2 * math.sin(n / 7) for n in range(SAMPLES)]
    charts = [
        chart("gpu queue", "118 chunks pending, 2 leased; 2 of 2 workers busy", [90 * wave for wave in waves]),
        chart("cpu queue", "0 chunks pending, 0 leased; 0 of 1 workers busy", [n % 180 < 9 for n in range(SAMPLES)]),
        chart("Throughput", "41,200 tokens/s", [20_000 + 15_000 * wave for wave in waves]),
    ]
    with (
        tempfile.TemporaryDirectory() as home,
        patch.multiple(JobBook, **jobbook),
        patch.multiple(Observer, charts=lambda _: charts, observe=lambda *_: None),
        patch.object(Client, "redis", None),
        patch("jdq.cli.web.jobs.time", SimpleNamespace(time=lambda: NOW)),
        serving({"JDQ_HOME": home}) as address,
    ):
        yield f"{address}/#token={TOKEN}"


def photographs(folder: Path) -> None:
    """Writes the tops of the report and of the first page of `jdq web` as JPEG, by Chromium."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary, web() as address, sync_playwright() as playwright:
        page_file = Path(temporary) / "report.html"
        page_file.write_text(report(), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, url, height in (("report", page_file.as_uri(), 1250), ("web", address, 900)):
            page = browser.new_page(viewport={"width": 1000, "height": height}, color_scheme="light")
            page.goto(url)
            page.locator("body:not(:has(#login))").wait_for()
            page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=70)
        browser.close()


def main() -> None:
    """Writes all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for path, svg in screens().items():
        path.write_text(svg, encoding="utf-8")
    photographs(FOLDER)


if __name__ == "__main__":
    main()
