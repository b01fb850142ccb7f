"""The confusion matrix as an HTML table: shades by the row's share, numbers in the cells."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from jdq.worker.report.plots import shortened

# A larger table would be unreadable; the classes that are confused most are shown.
MOST_CLASSES = 20


def confusion_table(true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: Sequence[str]) -> Markup:
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    shown = _most_confused(counts)
    size = "small" if len(shown) > 10 else ""
    head = "".join(f"<th scope=col class=col><span>{escape(shortened(classes[i], 18))}</span></th>" for i in shown)
    rows = "".join(_row(counts, i, shown, classes) for i in shown)
    return Markup(
        f'<table class="confusion {size}"><thead><tr><td class=corner>true \\ predicted</td>{head}'
        f"<th scope=col>recall</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _most_confused(counts: npt.NDArray[np.int64]) -> list[int]:
    if len(counts) <= MOST_CLASSES:
        return list(range(len(counts)))
    wrong = counts - np.diag(np.diag(counts))
    return sorted(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MOST_CLASSES].tolist())


def _row(counts: npt.NDArray[np.int64], i: int, shown: list[int], classes: Sequence[str]) -> str:
    total = int(counts[i].sum())
    cells = "".join(_cell(int(counts[i, j]), total, i == j, classes[i], classes[j]) for j in shown)
    recall = f"{counts[i, i] / total:.0%}" if total else "-"
    return f"<tr><th scope=row>{escape(shortened(classes[i], 26))}</th>{cells}<td class=sum>{recall}</td></tr>"


def _cell(count: int, total: int, right: bool, true: str, predicted: str) -> str:
    share = count / total if total else 0.0
    title = escape(f"{count} of {total} {true} texts predicted as {predicted}")
    style = f' style="{_shade(share**0.7, right=right)}"' if count else ""
    return f'<td{style} title="{title}">{count or ""}</td>'


def _shade(depth: float, *, right: bool) -> str:
    """Blue or orange on white, and black or white text: whichever has the higher contrast is above 4.5 to 1."""
    full = (47, 111, 222) if right else (228, 87, 46)
    shade = [round(255 + (value - 255) * depth) for value in full]
    linear = [((value / 255 + 0.055) / 1.055) ** 2.4 for value in shade]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    text = "#000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#fff"
    return f"background:rgb({shade[0]},{shade[1]},{shade[2]});color:{text}"
