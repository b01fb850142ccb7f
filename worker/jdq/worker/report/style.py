"""How plots look: quiet axes, few colours that colour-blind readers can distinguish, text in the page's own font."""

import io
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

INK, MUTED, FAINT, ACCENT, WARM = "#1f2933", "#6b7785", "#e3e8ee", "#2f6fde", "#e4572e"
# Okabe and Ito's palette without its yellow, which is too light on white, and three more.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a5195", "#8c8c8c", "#4d7c0f", "#b91c1c")
OTHER = "#c4ccd6"

SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # a class may be called "$\\x$"
    "svg.fonttype": "none",  # text stays text: sharp at any size, in the page's font, searchable
    "svg.hashsalt": "jdq",  # the same numbers give the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": "#b8c2cc",
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def class_colour(position: int) -> str:
    return PALETTE[position] if position < len(PALETTE) else OTHER


def new_figure(width: float, height: float) -> Figure:
    """In inches at 72 points; the page scales it to its column."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def as_svg(figure: Figure, alternative: str) -> str:
    """The figure as an inline <svg> element that scales, and what it shows in words."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return f'<svg role="img" aria-label="{escape(alternative)}"' + text[text.index("<svg") + len("<svg") :]


def styled() -> Any:
    """A context in which figures are made and written."""
    return rc_context(SETTINGS)
