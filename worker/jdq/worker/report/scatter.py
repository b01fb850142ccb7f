"""The map of the features as hand-written SVG: each point shows its text when the mouse is over it, or when tapped."""

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from jdq.worker.report.analysis import Map
from jdq.worker.report.plots import shortened
from jdq.worker.report.style import OTHER, PALETTE, class_colour

WIDTH, HEIGHT, MARGIN = 1000, 560, 18
TITLE_CHARACTERS = 160


def map_svg(feature_map: Map, codes: npt.NDArray[np.int64], classes: Sequence[str], texts: Sequence[str]) -> str:
    """`codes` and `texts` are of all rows. With more classes than colours, the most frequent get one."""
    x, y = _scaled(feature_map.points[:, 0], WIDTH), _scaled(-feature_map.points[:, 1], HEIGHT)
    colours = class_colours(codes, len(classes))
    # Rare classes last, so that they are on top.
    order = np.argsort(-np.bincount(codes, minlength=len(classes))[codes[feature_map.rows]], kind="stable")
    radius = 4.2 if len(order) < 800 else 3.0
    points, texts_of_points = [], []
    for i in order:
        row = int(feature_map.rows[i])
        title = escape(f"{classes[codes[row]]} · row {row + 1}\n{shortened(texts[row], TITLE_CHARACTERS)}")
        place = f'cx="{x[i]:.1f}" cy="{y[i]:.1f}" r="{radius}"'
        circle = f'<circle {place} fill="{colours[codes[row]]}"><title>{title}</title></circle>'
        # A link, because the page has no script: its target below the map is shown. Not in the order of TAB, which
        # would stop at each of thousands.
        points.append(f'<a href="#row-{row + 1}" tabindex="-1" aria-label="row {row + 1}">{circle}</a>')
        texts_of_points.append(f'<p class="point" id="row-{row + 1}">{title}</p>')
    counts = np.bincount(codes[feature_map.rows], minlength=len(classes))
    sizes = ", ".join(f"{shortened(name)} {count:,}" for name, count in zip(classes, counts, strict=True))
    label = escape(f"Map of {len(order):,} texts by their features. Texts of each class: {sizes}.")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="map" role="group" aria-label="{label}">'
        f'<g fill-opacity="0.72">{"".join(points)}</g></svg><div class="points">{"".join(texts_of_points)}</div>'
    )


def class_colours(codes: npt.NDArray[np.int64], n_classes: int) -> list[str]:
    """The colour of each class: by its position, or by frequency where there are more classes than colours."""
    if n_classes <= len(PALETTE):
        return [class_colour(i) for i in range(n_classes)]
    colours = [OTHER] * n_classes
    for rank, position in enumerate(
        np.argsort(-np.bincount(codes, minlength=n_classes), kind="stable")[: len(PALETTE)]
    ):
        colours[int(position)] = PALETTE[rank]
    return colours


def _scaled(values: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Pixels; the outermost hundredth is drawn at the edge, so that one outlier does not compress the rest."""
    low, high = np.quantile(values, [0.005, 0.995])
    shares = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    scaled: npt.NDArray[np.float64] = MARGIN + shares * (length - 2 * MARGIN)
    return scaled
