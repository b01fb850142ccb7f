"""Pages from templates, and the style and script that all of them share."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jdq.cli.output import ago, clock, duration, size

FOLDER = Path(__file__).parent


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ago": ago, "clock": clock, "duration": duration, "size": size}
    return environment


def page(template: str, **values: Any) -> str:
    """The whole page: HTML."""
    return _environment().get_template(template).render(values, frame="base.html")


def live_part(template: str, **values: Any) -> str:
    """The part of the page that changes while it is open."""
    return _environment().get_template(template).render(values, frame="live.html")


def style() -> str:
    """The report's style, with what only these pages need."""
    report = files("jdq.worker.report") / "page.css"
    return report.read_text(encoding="utf-8") + (FOLDER / "web.css").read_text(encoding="utf-8")


def script() -> str:
    """The script of all pages."""
    return (FOLDER / "page.js").read_text(encoding="utf-8")
