"""The sections of the page; each is None if the subject has nothing for it."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from jdq.worker.report import analysis, plots
from jdq.worker.report.comparison_row import METRICS
from jdq.worker.report.confusion import MOST_CLASSES, confusion_table
from jdq.worker.report.scatter import class_colours, map_svg
from jdq.worker.report.style import OTHER
from jdq.worker.report.subject import Compared, Subject

EXCERPT_CHARACTERS = 300


def duration(seconds: float) -> str:
    """The time in a readable unit."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One card of the page. text: one or two sentences, plain. wide: as wide as the page. lone: wide because it has no
    neighbour; its plot is no larger than beside one.
    """

    title: str
    body: Markup
    text: str = ""
    wide: bool = False
    lone: bool = False


def without_gaps(made: Sequence[Section]) -> list[Section]:
    """The last of an odd run of narrow sections becomes wide, so that no half of the page is empty."""
    arranged: list[Section] = []
    for section in [*made, None]:
        run = 0
        while run < len(arranged) and not arranged[-1 - run].wide:
            run += 1
        if (section is None or section.wide) and run % 2:
            arranged[-1] = dataclasses.replace(arranged[-1], wide=True, lone=True)
        if section is not None:
            arranged.append(section)
    return arranged


def comparison(subject: Subject) -> Section | None:
    if len(subject.compared) < 2:
        return None
    lines = sorted(subject.compared, key=lambda line: (not line.same_split, -line.metrics["macro_f1"]))
    note = "Macro-F1 on the same test rows, with 95 % intervals."
    if not all(line.same_split for line in lines):
        note += " Rows with * were measured on other rows or labels: their numbers are not comparable."
    scores = "".join(_compared_row(line, _scores(line)) for line in lines)
    priced = any(line.price is not None for line in lines)
    costs = "".join(_compared_row(line, _costs(line, priced=priced)) for line in lines)
    columns = ("time", "device", "device time", "texts", "tokens", *(["price"] if priced else []), "seed")
    plot = _both(lambda width: plots.comparison_plot(lines, "macro_f1", width=width))
    tables = plain_table(("what", *METRICS.values()), scores, "Comparison")
    body = Markup(plot + tables + plain_table(("what", *columns), costs, "Costs"))
    return Section(title="Against the others", text=note, body=body, wide=True)


def _both(plot: Callable[[float], str]) -> str:
    """The plot across the page, and the one that a phone shows instead."""
    return f"<div class=on-page>{plot(plots.WIDE)}</div><div class=on-phone>{plot(plots.NARROW)}</div>"


def plain_table(columns: Sequence[str], rows: str, name: str) -> str:
    head = "".join(f"<th scope=col>{column}</th>" for column in columns)
    return _scrolling(f"<table class=plain><tr>{head}</tr>{rows}</table>", name)


def _scrolling(table: str, name: str) -> str:
    """A table that scrolls where the page is too narrow, by touch and by keyboard."""
    return f'<div class=scroll tabindex=0 role=region aria-label="{name}">{table}</div>'


def _compared_row(line: Compared, values: Sequence[str]) -> str:
    css = "is-subject" if line.is_subject else "" if line.same_split else "other-split"
    notes = [*line.details, *([f"* {line.why}"] if line.why else [])]
    name = f"{escape(line.name)}{'' if line.same_split else ' *'}<small>{escape(', '.join(notes))}</small>"
    cells = "".join(f"<td>{escape(value)}</td>" for value in values)
    return f'<tr class="{css}"><th scope=row>{name}</th>{cells}</tr>'


def _scores(line: Compared) -> list[str]:
    return ["-" if (value := line.metrics.get(name)) is None else f"{value:.3f}" for name in METRICS]


def _costs(line: Compared, *, priced: bool) -> list[str]:
    device_time = "-" if line.device_s is None else duration(line.device_s)
    counts = ["-" if count is None else f"{count:,}" for count in (line.computed, line.tokens)]
    price = ["-" if line.price is None else f"{line.price:,.2f}"] if priced else []
    return [duration(line.wall_time_s), line.device, device_time, *counts, *price, str(line.seed)]


def confusion(subject: Subject) -> Section | None:
    if subject.multi_label:
        return None
    table = confusion_table(subject.test_codes, subject.probabilities.argmax(axis=1), subject.classes)
    text = "What each class was predicted as. Blue is correct, orange is wrong; darker is a larger share of the row."
    if len(subject.classes) > MOST_CLASSES:
        text += f" The {MOST_CLASSES} most confused of {len(subject.classes)} classes."
    return Section(title="Confusion", text=text, body=Markup(_scrolling(table, "Confusion")), wide=True)


def per_class(subject: Subject) -> Section | None:
    rows = sorted(subject.record["metrics"]["per_class"], key=lambda row: (row["support"] == 0, row["f1"]))
    lines = "".join(_class_row(row) for row in rows[:40])
    table = plain_table(("class", "precision", "recall", "F1", "ROC AUC", "test texts"), lines, "Class by class")
    text = "Hardest first." + (f" The 40 hardest of {len(rows)}." if len(rows) > 40 else "")
    return Section(title="Class by class", text=text, body=Markup(table), wide=True)


def _class_row(row: dict[str, Any]) -> str:
    if not row["support"]:
        absent = "<td colspan=4>not in the test part</td><td>0</td>"
        return f"<tr class=other-split><th scope=row>{escape(row['label'])}</th>{absent}</tr>"
    bar = f"<span class=bar><i style='width:{100 * row['f1']:.0f}%'></i></span>"
    auc = "-" if row["roc_auc"] is None else f"{row['roc_auc']:.3f}"
    return (
        f"<tr><th scope=row>{escape(row['label'])}</th><td>{row['precision']:.3f}</td><td>{row['recall']:.3f}</td>"
        f"<td>{row['f1']:.3f}{bar}</td><td>{auc}</td><td>{row['support']:,}</td></tr>"
    )


def feature_map_section(subject: Subject) -> Section | None:
    if subject.X is None or subject.multi_label or subject.X.shape[0] < 3 or subject.X.shape[1] < 2:
        return None
    feature_map = analysis.feature_map(subject.X)
    drawing = map_svg(feature_map, subject.codes, subject.classes, subject.texts)
    colours = class_colours(subject.codes, len(subject.classes))
    named = [(name, colour) for name, colour in zip(subject.classes, colours, strict=True) if colour != OTHER]
    if len(named) < len(subject.classes):
        named.append((f"{len(subject.classes) - len(named)} other classes", OTHER))
    legend = "".join(f"<span><i class=swatch style='background:{c}'></i>{escape(n)}</span>" for n, c in named)
    by = "by UMAP: near points are texts with similar features; distances between groups mean little"
    if feature_map.explained:
        share = sum(feature_map.explained)
        by = f"on the first two principal components of the features ({share:.0%} of their variance)"
    shown = f"{len(feature_map.rows):,} of {subject.X.shape[0]:,}"
    text = f"Each point is a text: {shown}, {by}. Point at or tap one to read it."
    body = Markup(f"{drawing}<div class=legend>{legend}</div>")
    return Section(title="Map of the features", text=text, body=body, wide=True)


def precision_recall_section(subject: Subject) -> Section | None:
    curves = analysis.precision_recall(subject)
    if not curves:
        return None
    text = "Precision: the share of predicted texts that are correct. Recall: the share of a class that is predicted."
    return Section(
        title="Precision and recall", text=text, body=Markup(plots.precision_recall_plot(curves, subject.classes))
    )


def roc_section(subject: Subject) -> Section | None:
    curves = analysis.roc(subject)
    if not curves:
        return None
    text = "How well each class is separated from all others, at every threshold."
    return Section(title="ROC", text=text, body=Markup(plots.roc_plot(curves, subject.classes)))


def reliability_section(subject: Subject) -> Section | None:
    reliability = analysis.reliability(subject)
    text = (
        f"On the dashed line, 80 % probable is correct 8 times in 10. Mean gap: {100 * reliability.error:.1f} points."
    )
    return Section(title="Calibration", text=text, body=Markup(plots.reliability_plot(reliability)))


def learning(subject: Subject) -> Section | None:
    if len(subject.learning) < 2:
        return None
    text = "Would more labels help? A curve that still rises at its right end says yes."
    return Section(title="Learning curve", text=text, body=Markup(plots.learning_plot(subject.learning)))


def losses(subject: Subject) -> Section | None:
    history, steps = subject.record.get("history", []), subject.record.get("step_losses", [])
    unit = "step" if steps else "epoch"
    train = [tuple(pair) for pair in steps] or [(e["epoch"], e["train_loss"]) for e in history if "train_loss" in e]
    validation = [(entry[unit], entry["validation_loss"]) for entry in history if "validation_loss" in entry]
    if len(train) < 2:
        return None
    return Section(
        title="Loss",
        text=f"Cross-entropy by {unit}. The validation part decides when to stop.",
        body=Markup(_both(lambda width: plots.loss_plot(train, validation, unit, width=width))),
        wide=True,
    )


def search(subject: Subject) -> Section | None:
    record = subject.record.get("search")
    if not record or not any(trial["score"] is not None for trial in record["trials"]):
        return None
    text = (
        f"{len(record['trials'])} trials, each scored by {record['folds']}-fold cross-validation over the train part; "
        "the best, in blue, was trained again and measured on the test part."
    )
    plot = _both(lambda width: plots.search_plot(record["trials"], record["metric"], width=width))
    return Section(title="Search", text=text, body=Markup(plot), wide=True)


def errors(subject: Subject) -> Section | None:
    mistakes = analysis.hardest_errors(subject)
    if subject.multi_label:
        return None
    if not mistakes:
        return Section(title="Errors", body=Markup("<p class=good>Every test text is correct.</p>"), wide=True)
    wrong = int((subject.probabilities.argmax(axis=1) != subject.test_codes).sum())
    cards = "".join(mistake_card(mistake) for mistake in mistakes)
    text = f"The {len(mistakes)} of {wrong} errors with the highest predicted probability: hard texts, or wrong labels."
    return Section(title="Hardest errors", text=text, body=Markup(f"<div class=mistakes>{cards}</div>"), wide=True)


def mistake_card(mistake: analysis.Mistake) -> str:
    wrong = f"<span class=wrong>{escape(mistake.predicted)}</span> {mistake.p_predicted:.0%}"
    true = f"<span class=true>{escape(mistake.true)}</span> {mistake.p_true:.0%}"
    shares = f"<i style='width:{mistake.p_predicted:.0%}'></i><b style='width:{mistake.p_true:.0%}'></b>"
    return (
        f"<div class=mistake><div class=labels><span>{wrong} · labelled {true}</span>"
        f"<span class=row>row {mistake.row:,}</span></div>"
        f"<div class=split>{shares}</div>{excerpt(mistake.text)}</div>"
    )


def excerpt(text: str) -> str:
    if len(text) <= EXCERPT_CHARACTERS:
        return f"<p class=excerpt>{escape(text)}</p>"
    full = f"<details><summary>the full text</summary><p class=excerpt>{escape(text)}</p></details>"
    return f"<p class=excerpt>{escape(text[:EXCERPT_CHARACTERS])}…</p>{full}"


def duplicates(subject: Subject) -> Section | None:
    count, pairs = analysis.near_duplicates(subject.texts, subject.split)
    if not count:
        body = Markup("<p class=good>None: no test text shares 70 % of its word triples with a train text.</p>")
        return Section(title="Near-duplicates between train and test", body=body, wide=True)
    share = count / min(len(np.flatnonzero(subject.split.parts == 2)), analysis.DUPLICATE_TEST_ROWS)
    cards = "".join(
        f"<div class=pair><span class=share>{pair.similarity:.0%}</span>"
        f"<div><small>test, row {pair.test_row:,}</small>{excerpt(pair.test_text)}</div>"
        f"<div><small>train, row {pair.train_row:,}</small>{excerpt(pair.train_text)}</div></div>"
        for pair in pairs
    )
    text = (
        f"{count:,} test texts ({share:.0%}) have a near-duplicate in the train part, by shared runs of three words. "
        "The classifier may have memorized them: on new texts it can be worse than it looks here."
    )
    return Section(title="Near-duplicates between train and test", text=text, body=Markup(cards), wide=True)
