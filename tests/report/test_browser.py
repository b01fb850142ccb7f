"""The page in Chromium: nothing is cut on a phone, a tablet and a desktop, light and dark, and axe finds no fault."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jdq.worker.heads.options import HeadOptions
from jdq.worker.report.page import render
from jdq.worker.report.subject import Compared, LearningPoint, Subject
from tests.chromium import checked_at, chromium
from tests.report.test_report import labels, subject_of

__all__ = ["chromium"]

LONG = "logreg with a long name k3v9x2pq"
# The smallest text of a plot that is shown, in pixels.
SMALLEST = """() => Math.min(...[...document.querySelectorAll("section svg text")]
  .map(e => e.getBoundingClientRect()).filter(box => box.height > 0).map(box => box.height))"""


def compared(subject: Subject, **more: Any) -> Compared:
    record = subject.record
    return Compared(
        kind="head", metrics=record["metrics"], intervals=record.get("intervals", {}),
        wall_time_s=1.0, device="cpu", seed=0, **more,
    )  # fmt: skip


def pages() -> dict[str, str]:
    """A page with every section that a head can have, one of many classes, and one of label sets."""
    full = subject_of(HeadOptions(), labels())
    lines = [
        compared(full, name=LONG, details=("C=1.0", "scale=False"), is_subject=True),
        compared(full, name="logreg a2b3c4d5", details=("C=0.1", "8 texts per class", "calibrated")),
        compared(full, name="logreg e6f7g8h9", details=("multi-label",), why="label sets"),
    ]
    trials = [{"head": head, "score": score} for head, score in (("logreg", 0.8), ("linear-svm", 0.7), ("logreg", 0.6))]
    search = {"trials": trials, "metric": "macro_f1", "folds": 5}
    learning = [LearningPoint(rows=n, accuracy=n / 300, macro_f1=n / 320) for n in (20, 80, 200)]
    record = full.record | {"search": search, "warnings": ["mind the gap"]}
    many = subject_of(HeadOptions(), labels(rows=600, classes=25))
    sets = subject_of(HeadOptions(label_separator="|"), ["a|b", "a", "b", "c|a"] * 40)
    full = replace(full, record=record, compared=lines, learning=learning)
    return {"full": render(full), "many classes": render(many), "label sets": render(sets)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, files = tmp_path_factory.mktemp("pages"), {}
    for number, (name, page) in enumerate(pages().items()):
        files[name] = folder / f"{number}.html"
        files[name].write_text(page, encoding="utf-8")
    return files


@pytest.mark.parametrize("name", ["full", "many classes", "label sets"])
def test_nothing_is_cut_and_axe_finds_no_violation(chromium: Any, files: dict[str, Path], name: str) -> None:
    for scheme in ("light", "dark"):
        page = chromium.new_page(color_scheme=scheme)
        page.goto(files[name].as_uri())
        for width in checked_at(page, scheme):
            assert page.evaluate(SMALLEST) >= 8, (scheme, width)
        page.close()


def test_a_tap_on_a_point_of_the_map_shows_its_text(chromium: Any, files: dict[str, Path]) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(files["full"].as_uri())
    assert page.locator(".point:visible").count() == 0
    page.locator(".map circle").last.dispatch_event("click")
    shown = page.locator(".point:visible")
    assert shown.count() == 1
    assert "text number" in shown.inner_text()
    page.close()


def test_heads_of_one_kind_can_be_told_apart_and_label_sets_are_marked(files: dict[str, Path]) -> None:
    page = files["full"].read_text(encoding="utf-8")
    for words in ("C=1.0, scale=False", "C=0.1, 8 texts per class, calibrated", "multi-label, * label sets"):
        assert words in page


def test_every_plot_has_a_text_and_every_header_a_scope(files: dict[str, Path]) -> None:
    for file in files.values():
        page = file.read_text(encoding="utf-8")
        assert page.count("<svg") == page.count(" aria-label=") - page.count("role=region") - page.count(
            '<a href="#row'
        )
        assert page.count("<th ") == page.count("<th scope=")
        assert "<th>" not in page
