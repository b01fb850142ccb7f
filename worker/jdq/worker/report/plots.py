"""The report's plots, each an inline SVG."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jdq.worker.report.analysis import Curve, Reliability
from jdq.worker.report.style import ACCENT, FAINT, INK, MUTED, OTHER, WARM, as_svg, class_colour, new_figure, styled
from jdq.worker.report.subject import Compared, LearningPoint

# With more curves than this they are faint, and only the mean is bold.
NAMED_CURVES = 7
# Size of a plot across the page, in inches, and on a phone, where the wide one would be too small to read.
WIDE, NARROW = 9.6, 4.7


def precision_recall_plot(curves: Sequence[Curve], classes: Sequence[str]) -> str:
    with styled():
        figure = new_figure(4.7, 3.9)
        axes = figure.subplots()
        _curves(axes, curves, classes, step=True)
        axes.set(xlabel="recall", ylabel="precision")
        axes.legend(loc="best", title="average precision", alignment="left", title_fontsize=9)
        return as_svg(figure, f"Precision against recall. Average precision: {_areas(curves)}.")


def roc_plot(curves: Sequence[Curve], classes: Sequence[str]) -> str:
    with styled():
        figure = new_figure(4.7, 3.9)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=OTHER, linewidth=1, linestyle=(0, (4, 4)))
        _curves(axes, curves, classes, step=False)
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.legend(loc="lower right", title="area under the curve", alignment="left", title_fontsize=9)
        return as_svg(figure, f"True against false positive rate. Area under the curve: {_areas(curves)}.")


def _areas(curves: Sequence[Curve]) -> str:
    return _listed((curve.label, curve.area) for curve in curves)


def _listed(values: Iterable[tuple[str, float]]) -> str:
    """The values in words, each after its name."""
    return ", ".join(f"{name} {value:.3f}" for name, value in values)


def _curves(axes: Axes, curves: Sequence[Curve], classes: Sequence[str], *, step: bool) -> None:
    few = len(curves) <= NAMED_CURVES
    for curve in curves:
        style: dict[str, Any] = {"color": class_colour(classes.index(curve.label)) if few else OTHER}
        style |= {"label": f"{shortened(curve.label)}: {curve.area:.2f}"} if few else {"linewidth": 0.7}
        if len(curves) == 1:
            style["color"] = ACCENT
            axes.fill_between(curve.x, curve.y, step="pre" if step else None, color=ACCENT, alpha=0.08, linewidth=0)
        axes.plot(curve.x, curve.y, drawstyle="steps-pre" if step else "default", **style)
    if not few:
        grid = np.linspace(0, 1, 201)
        mean = np.mean([_values_at(grid, curve, step=step) for curve in curves], axis=0)
        area = np.mean([curve.area for curve in curves])
        axes.plot(grid, mean, color=ACCENT, linewidth=2.4, label=f"mean of {len(curves)} classes: {area:.2f}")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))


def _values_at(grid: Any, curve: Curve, *, step: bool) -> Any:
    """A precision curve is a step: between two recalls it has the value of the higher one."""
    if step:
        return curve.y[np.searchsorted(curve.x, np.minimum(grid, curve.x[-1]))]
    return np.interp(grid, curve.x, curve.y)


def reliability_plot(reliability: Reliability) -> str:
    with styled():
        figure = new_figure(4.7, 3.9)
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=OTHER, linewidth=1, linestyle=(0, (4, 4)))
        filled = reliability.counts > 0
        x, y = reliability.confidence[filled], reliability.accuracy[filled]
        axes.vlines(x, x, y, color=WARM, alpha=0.5, linewidth=2)
        sizes = 25 + 200 * reliability.counts[filled] / reliability.counts.sum()
        axes.scatter(x, y, s=sizes, color=ACCENT, zorder=3, edgecolor="white")
        axes.set(ylabel="share that is right", xlim=(-0.02, 1.02), ylim=(-0.04, 1.06))
        edges = (np.arange(len(reliability.counts)) + 0.5) / len(reliability.counts)
        below.bar(edges, reliability.counts, width=0.85 / len(reliability.counts), color="#c9d8f5")
        below.set(xlabel="probability of the prediction", ylabel="texts")
        below.yaxis.get_major_locator().set_params(nbins=2, integer=True)
        how = ", ".join(f"{sure:.0%}: {right:.0%}" for sure, right in zip(x, y, strict=True))
        return as_svg(figure, f"How often predictions are right, by their probability. {how}.")


def learning_plot(points: Sequence[LearningPoint]) -> str:
    with styled():
        figure = new_figure(4.7, 3.9)
        axes = figure.subplots()
        rows = [point.rows for point in points]
        for name, values, colour in (
            ("accuracy", [point.accuracy for point in points], ACCENT),
            ("macro-F1", [point.macro_f1 for point in points], WARM),
        ):
            axes.plot(rows, values, color=colour, marker="o", markersize=5, markeredgecolor="white", label=name)
            if name == "accuracy" or abs(values[-1] - points[-1].accuracy) > 0.04:  # else one hides the other
                at = (rows[-1], values[-1])
                axes.annotate(f"{values[-1]:.2f}", at, (7, -3), textcoords="offset points", color=colour)
        axes.set_xscale("log")
        axes.set_xticks(rows, [f"{count:,}" for count in rows], minor=False)
        axes.minorticks_off()
        axes.set(xlabel="training rows", ylim=(0, 1.04), ylabel="on the test part")
        axes.margins(x=0.12)
        axes.legend(loc="best")
        shown = _listed((f"{point.rows:,} rows", point.macro_f1) for point in points)
        return as_svg(figure, f"Macro-F1 on the test part, by the number of training rows: {shown}.")


def loss_plot(
    train: Sequence[tuple[float, float]],
    validation: Sequence[tuple[float, float]],
    unit: str,
    *,
    width: float = WIDE,
) -> str:
    """(epoch or step, loss) of the training and of the validation part; the best validation loss is marked."""
    with styled():
        figure = new_figure(width, 3.4)
        axes = figure.subplots()
        if train:
            x, y = np.array(train).T
            if len(y) > 40:
                axes.plot(x, y, color="#c9d8f5", linewidth=1)
                width = max(3, len(y) // 20)
                y = np.convolve(np.pad(y, (width - 1, 0), mode="edge"), np.ones(width) / width, mode="valid")
            axes.plot(x, y, color=ACCENT, label="training")
        if validation:
            x, y = np.array(validation).T
            best = int(np.argmin(y))
            axes.plot(x, y, color=WARM, marker="o" if len(y) < 15 else None, markersize=5, label="validation")
            axes.scatter(x[best], y[best], s=90, facecolor="none", edgecolor=WARM, linewidth=1.8, zorder=3)
            axes.annotate("lowest", (x[best], y[best]), (0, 10), textcoords="offset points", ha="center", color=WARM)
        axes.set(xlabel=unit, ylabel="loss")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")
        ends = [(name, part[-1][1]) for name, part in (("training", train), ("validation", validation)) if part]
        return as_svg(figure, f"Loss by {unit}. At the end: {_listed(ends)}.")


def comparison_plot(lines: Sequence[Compared], metric: str, *, width: float = WIDE) -> str:
    """One line per classifier, best on top: the value, and its 95 % interval where there is one.

    Values far below the others, such as the dummy's, are shown at the left edge with their number.
    """
    left = _left_edge([line.metrics[metric] for line in lines])
    with styled():
        figure = new_figure(width, 0.5 + 0.36 * len(lines))
        axes = figure.subplots()
        for position, line in enumerate(reversed(lines)):
            _compared_line(axes, line, position, metric, left)
        names = [
            shortened(line.name, 38 if width == WIDE else 22) + ("" if line.same_split else " *")
            for line in reversed(lines)
        ]
        axes.set_yticks(range(len(lines)), names, color=INK)
        axes.set(ylim=(-0.6, len(lines) - 0.3), xlim=(left, 1.005))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        return as_svg(figure, f"{metric}: {_listed((line.name, line.metrics[metric]) for line in lines)}.")


def _left_edge(values: Sequence[float]) -> float:
    near = [value for value in values if value > max(values) - 0.4]
    return float(max(0.0, np.floor(10 * (min(near) - 0.12)) / 10))


def _compared_line(axes: Axes, line: Compared, position: int, metric: str, left: float) -> None:
    colour = ACCENT if line.is_subject else MUTED if line.same_split else OTHER
    value = line.metrics[metric]
    if value < left:
        axes.annotate(f"◂ {value:.3f}", (left, position), (6, 0), textcoords="offset points", va="center", fontsize=8)
        return
    if metric in line.intervals:
        low, high = line.intervals[metric]
        axes.hlines(position, max(low, left), high, color=colour, linewidth=5, alpha=0.25)
    axes.scatter(value, position, s=55, color=colour, zorder=3, edgecolor="white")
    axes.annotate(f"{value:.3f}", (value, position), (0, 7), textcoords="offset points", ha="center", fontsize=8)


def search_plot(trials: Sequence[dict[str, Any]], metric: str, *, width: float = WIDE) -> str:
    """Every trial of a search as a point, one line per head, the best head on top."""
    scored = [trial for trial in trials if trial["score"] is not None]
    heads = list(dict.fromkeys(trial["head"] for trial in scored))  # best first, as the trials are
    with styled():
        figure = new_figure(width, 0.7 + 0.34 * len(heads))
        axes = figure.subplots()
        for position, head in enumerate(reversed(heads)):
            scores = [trial["score"] for trial in scored if trial["head"] == head]
            axes.hlines(position, min(scores), max(scores), color=FAINT, linewidth=6)
            axes.scatter(scores, [position] * len(scores), s=36, color=MUTED, alpha=0.55, edgecolor="none", zorder=3)
        axes.scatter(scored[0]["score"], len(heads) - 1, s=80, color=ACCENT, edgecolor="white", zorder=4)
        axes.set_yticks(range(len(heads)), list(reversed(heads)), color=INK)
        axes.set(xlabel=f"{metric.replace('_', '-')} in cross-validation", ylim=(-0.6, len(heads) - 0.4))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        best = {trial["head"]: trial["score"] for trial in reversed(scored)}
        return as_svg(figure, f"{metric} of the best trial of each head: {_listed(best.items())}.")


def shortened(text: str, length: int = 24) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
