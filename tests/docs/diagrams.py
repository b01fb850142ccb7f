"""The diagrams of the documentation as SVG files: readers need no script from elsewhere."""

from collections.abc import Mapping, Sequence
from html import escape
from math import hypot

LINE = 15  # px between the lines of a label
BOX = (100, 34)  # px: a state
STYLE = """
  .page { fill: #fff }
  .box { fill: #eef3fc; stroke: #4a6fb3 }
  .frame { fill: none; stroke: #9aa7bd; stroke-dasharray: 5 4 }
  .arrow { stroke: #444; marker-end: url(#head) }
  text { font: 12px system-ui, sans-serif; fill: #222; text-anchor: middle; dominant-baseline: central }
  .halo { stroke: #fff; stroke-width: 5px; stroke-linejoin: round }
"""
HEAD = '<marker id="head" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
Point = tuple[float, float]


class Drawing:
    """An SVG picture; labels are above frames, arrows and boxes."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
            f"<title>{escape(title)}</title>",
            f'<style>{STYLE}</style><defs>{HEAD}<path fill="#444" d="M0 0 L9 4 L0 8 Z"/></marker></defs>',
            f'<rect class="page" width="{width}" height="{height}"/>',
        ]
        self._shapes: list[str] = []
        self._labels: list[str] = []

    def box(self, center: Point, size: Point, text: str) -> None:
        """A box with its name in the middle."""
        self._rectangle("box", (center[0] - size[0] / 2, center[1] - size[1] / 2), size)
        self._text(center, text)

    def frame(self, corner: Point, size: Point, name: str) -> None:
        """A dashed frame with its name at the top."""
        self._rectangle("frame", corner, size)
        self._text((corner[0] + 100, corner[1]), name)

    def arrow(self, start: Point, end: Point, label: str = "", *, at: float = 0.5, above: int = 0) -> None:
        """A straight line; its label is at this share of its length, and this many px above it."""
        (x1, y1), (x2, y2) = start, end
        self._line("arrow", start, end)
        self._text((x1 + (x2 - x1) * at, y1 + (y2 - y1) * at - above), label)

    def lifeline(self, start: Point, end: Point) -> None:
        """A dashed line without a head."""
        self._line("frame", start, end)

    def svg(self) -> str:
        """The file's text."""
        return "\n".join([*self._head, *self._shapes, *self._labels, "</svg>\n"])

    def _line(self, kind: str, start: Point, end: Point) -> None:
        (x1, y1), (x2, y2) = start, end
        self._shapes.append(f'<line class="{kind}" x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"/>')

    def _rectangle(self, kind: str, corner: Point, size: Point) -> None:
        place = f'x="{corner[0]:.0f}" y="{corner[1]:.0f}" width="{size[0]:.0f}" height="{size[1]:.0f}"'
        self._shapes.append(f'<rect class="{kind}" {place} rx="5"/>')

    def _text(self, center: Point, text: str) -> None:
        lines = text.split("\n") if text else []
        for kind in ("halo", "label"):
            for number, line in enumerate(lines):
                y = center[1] + (number - (len(lines) - 1) / 2) * LINE
                self._labels.append(f'<text class="{kind}" x="{center[0]:.0f}" y="{y:.0f}">{escape(line)}</text>')


def rooms(layers: Mapping[str, Sequence[str]], allowed: Mapping[int, Sequence[str]]) -> str:
    """Layers of client, workers and store, top to bottom; by layer of the workers, what the client may import."""
    rows = max(map(len, layers.values()))
    drawing = Drawing(840, 90 + 62 * rows, "What may import what in the client, the workers and the store")
    for part, center in zip(layers, (110, 430, 730), strict=True):
        drawing.frame((center - 100, 20), (200, 30 + 62 * len(layers[part])), part)
        for number, layer in enumerate(layers[part]):
            y = 66 + 62 * number
            drawing.box((center, y), (184, 40), _two_lines(layer))
            if number:
                drawing.arrow((center, y - 42), (center, y - 20))
    for number, names in allowed.items():
        drawing.arrow((210, 66 + 62 * number), (330, 66 + 62 * number), ",\n".join(names), at=0.46)
    drawing.arrow((530, 66), (630, 66), "what is public", at=0.46)
    last = 72 + 62 * rows
    drawing.arrow((210, last), (630, last), "what is public")
    return drawing.svg()


def _two_lines(layer: str) -> str:
    names = layer.split(" | ")
    half = (len(names) + 1) // 2 if len(names) > 3 else len(names)
    return "\n".join(" · ".join(part) for part in (names[:half], names[half:]) if part)


def states(title: str, places: Mapping[str, Point], arrows: Sequence[tuple[str, str, str]]) -> str:
    """States at their places in px, and what leads from one to another."""
    drawing = Drawing(840, round(max(y for _, y in places.values())) + 40, title)
    for name, center in places.items():
        drawing.box(center, BOX, name)
    directions = {(start, end) for start, end, _ in arrows}
    for start, end, label in arrows:
        two_way = (end, start) in directions
        drawing.arrow(*_between(places[start], places[end], 14 if two_way else 0), label, at=0.7 if two_way else 0.5)
    return drawing.svg()


def _between(start: Point, end: Point, aside: float) -> tuple[Point, Point]:
    """From the border of one box to that of another, this many px beside the line between their centers."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    x, y = dx / hypot(dx, dy), dy / hypot(dx, dy)
    shift = (aside * y, -aside * x)
    first, last = _inside((x, y), shift), _inside((-x, -y), shift)
    return (
        (start[0] + shift[0] + x * first, start[1] + shift[1] + y * first),
        (end[0] + shift[0] - x * last, end[1] + shift[1] - y * last),
    )


def _inside(direction: Point, shift: Point) -> float:
    """How far a line in this direction, beside the center of a box by `shift`, runs inside of the box."""
    pairs = zip(direction, shift, (BOX[0] / 2, BOX[1] / 2), strict=True)
    return min((half - aside * (1 if way > 0 else -1)) / abs(way) for way, aside, half in pairs if way)


def sequence(title: str, parties: Sequence[str], steps: Sequence[tuple[int, int, str]], loop: range) -> str:
    """Who sends what to whom, from top to bottom; the steps of `loop` are repeated."""
    width, height = 160, 36
    drawing = Drawing(width * len(parties), 80 + height * len(steps), title)
    center = [width * (number + 0.5) for number in range(len(parties))]
    for x, name in zip(center, parties, strict=True):
        drawing.lifeline((x, 42), (x, 70 + height * len(steps)))
        drawing.box((x, 25), (width - 20, 34), name)
    used = [party for number in loop for party in steps[number][:2]]
    left, right = center[min(used)] - 70, center[max(used)] + 70
    drawing.frame((left, 52 + height * loop.start), (right - left, height * len(loop)), "until no chunk is pending")
    for number, (sender, receiver, text) in enumerate(steps):
        y = 78 + height * number
        drawing.arrow((center[sender], y), (center[receiver], y), text, above=10)
    return drawing.svg()
