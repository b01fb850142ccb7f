import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import msgspec
import numpy as np
import pytest

from jdq.worker.heads.fitted import row_keys
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.search import Trial, refit_best, score_trial
from jdq.worker.heads.split import TEST, TRAIN, make_split
from jdq.worker.heads.train import make_fit_context, train_head
from jdq.worker.report.analysis import (
    feature_map,
    hardest_errors,
    learning_curve,
    near_duplicates,
    precision_recall,
    reliability,
    roc,
)
from jdq.worker.report.certainty import certainty_section
from jdq.worker.report.page import render
from jdq.worker.report.subject import Compared, Subject

CLASSES = ["<b>bold</b>", "plain & simple", "$\\alpha$"]


def subject_of(options: HeadOptions, y: list[str], *, noise: float = 1.5, **more: Any) -> Subject:
    rng = np.random.default_rng(0)
    targets = read_targets(y, label_separator=options.label_separator)
    indicator = targets.codes if targets.multi_label else targets.codes[:, None] == np.arange(len(targets.classes))
    X = (indicator @ rng.normal(size=(len(targets.classes), 12)) * 1.5 + noise * rng.normal(size=(len(y), 12))).astype(
        "f2"
    )
    texts = [f"text number {i} <script>alert({i})</script> of {label}" for i, label in enumerate(y)]
    split = make_split(y, row_keys(len(y)), label_separator=options.label_separator)
    head = train_head(X, y, split, options)
    return Subject(
        name=f"{options.head} on <demo>",
        kind="head",
        dataset="demo",
        record=msgspec.to_builtins(head.record),
        classes=head.classes,
        codes=targets.codes,
        texts=texts,
        split=split,
        probabilities=head.predict_proba(X[split.rows(TEST)]),
        X=X,
        **more,
    )


def labels(rows: int = 240, classes: int = 3) -> list[str]:
    names = CLASSES if classes == 3 else [f"class {i:02}" for i in range(classes)]
    return [names[i % classes] for i in range(rows)]


class Outline(HTMLParser):
    """The page's headings and elements, and whether every element is closed."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return subject_of(HeadOptions(), labels())


def test_the_page_holds_everything_and_loads_nothing(subject: Subject) -> None:
    page = render(subject)
    outline = Outline(page)
    assert outline.open == [] and "script" not in outline.tags and "img" not in outline.tags
    assert (
        not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
        and "@import" not in page
        and "url(http" not in page
    )
    assert outline.tags.count("svg") >= 4
    assert {"Confusion", "Class by class", "Map of the features", "ROC", "Precision and recall"} <= set(
        outline.headings
    )


def test_names_and_texts_of_users_are_text_and_not_markup(subject: Subject) -> None:
    page = render(subject)
    assert "<script>" not in page and "<b>bold" not in page and "on <demo>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page and "plain &amp; simple" in page and "$\\alpha$" in page


def test_the_same_subject_gives_the_same_page(subject: Subject) -> None:
    assert render(subject) == render(subject)


def test_a_page_of_two_classes_of_many_classes_and_of_label_sets() -> None:
    two = Outline(render(subject_of(HeadOptions(), ["yes", "no"] * 60)))
    many = Outline(render(subject_of(HeadOptions(), labels(rows=900, classes=30))))
    sets = Outline(render(subject_of(HeadOptions(label_separator="|"), ["a|b", "a", "b", "c|a"] * 40)))
    assert all("How certain" in page.headings for page in (two, many, sets))
    assert "Confusion" in two.headings and "Confusion" in many.headings
    assert "Confusion" not in sets.headings and "Precision and recall" in sets.headings


def test_loss_search_learning_and_comparison_have_their_sections() -> None:
    y = labels()
    plain = subject_of(HeadOptions(head="mlp", params={"max_epochs": 5}), y)
    assert plain.X is not None
    scores = [
        score_trial(plain.X, y, plain.split, Trial(number=i, options=HeadOptions(params={"C": c})), folds=2)
        for i, c in enumerate((0.1, 1.0))
    ]
    searched = refit_best(plain.X, y, plain.split, scores).record.search
    context = make_fit_context(plain.X, read_targets(y), plain.split, HeadOptions(), row_keys(240), lambda *_: None)
    line = Compared(
        name="mlp", kind="head", metrics=plain.record["metrics"], intervals=plain.record["intervals"],
        wall_time_s=1.0, device="cpu", seed=0, is_subject=True,
    )  # fmt: skip
    other = replace(line, name="older", why="label sets", details=("C=0.1", "calibrated"), is_subject=False)
    full = replace(
        plain,
        record=plain.record | {"search": msgspec.to_builtins(searched), "warnings": ["mind the gap"]},
        compared=[replace(line, device_s=90.0, computed=1200, tokens=84_000, price=1.5), other],
        learning=learning_curve(context, plain.test_rows, steps=3),
    )
    page = render(full)
    assert {"Loss", "Search", "Learning curve", "Against the others"} <= set(Outline(page).headings)
    assert "older *" in page and "on other rows or labels" in page and "mind the gap" in page
    assert "C=0.1, calibrated, * label sets" in page
    assert "<td>cpu</td><td>90.0 s</td><td>1,200</td><td>84,000</td><td>1.50</td><td>0</td>" in page
    assert "<td>cpu</td><td>-</td><td>-</td><td>-</td><td>-</td><td>0</td>" in page
    assert "<th scope=col>price</th>" not in render(replace(full, compared=[line, other]))


def test_the_curves_areas_are_those_of_the_metrics(subject: Subject) -> None:
    expected = {row["label"]: row["roc_auc"] for row in subject.record["metrics"]["per_class"]}
    assert {curve.label: pytest.approx(curve.area) for curve in roc(subject)} == expected
    for curve in precision_recall(subject):
        assert (np.diff(curve.x) >= 0).all() and 0 < curve.area <= 1


def test_a_head_that_promises_a_share_shows_what_it_keeps(subject: Subject) -> None:
    section = certainty_section(subject)
    assert section is not None
    level = subject.record["certainty"]["sets"][40]
    covered = subject.probabilities[np.arange(len(subject.test_codes)), subject.test_codes] >= level
    assert "<th scope=row>90%</th>" in section.body
    assert f"<td>{covered.mean():.1%}</td>" in section.body.partition("90%")[2].partition("</tr>")[0]
    least = subject.record["certainty"]["answers"][40]
    assert f"<td>{(subject.probabilities.max(axis=1) >= least).mean():.1%}</td>" in section.body
    assert certainty_section(replace(subject, record=subject.record | {"certainty": None})) is None


def test_reliability_of_honest_probabilities_has_no_gap() -> None:
    plain = subject_of(HeadOptions(), ["yes", "no"] * 5000, noise=3.0)
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, len(plain.test_rows))
    right = rng.random(len(p)) < p
    true = plain.test_codes
    predicted = np.where(right, true, 1 - true)
    probabilities = np.where(np.arange(2) == predicted[:, None], p[:, None], 1 - p[:, None])
    found = reliability(replace(plain, probabilities=probabilities))
    assert found.error < 0.04 and found.counts.sum() == len(p)


def test_the_hardest_errors_are_the_surest_mistakes(subject: Subject) -> None:
    mistakes = hardest_errors(subject, limit=5)
    assert mistakes and all(mistake.true != mistake.predicted for mistake in mistakes)
    sure = [mistake.p_predicted for mistake in mistakes]
    assert sure == sorted(sure, reverse=True)
    assert all(f"text number {mistake.row - 1} " in mistake.text for mistake in mistakes)


def test_near_duplicates_across_the_split_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["oak", "elm", "fir", "ash", "yew", "box", "may", "sea"], 30)) for _ in range(100)]
    split = make_split(["a", "b"] * 50, row_keys(100))
    test, train = int(split.rows(TEST)[3]), int(split.rows(0)[5])
    texts[test] = texts[train] + " indeed"
    count, pairs = near_duplicates(texts, split)
    assert count == 1 and (pairs[0].test_row, pairs[0].train_row) == (test + 1, train + 1)
    assert pairs[0].similarity > 0.85


def test_the_map_shows_the_two_directions_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 5)) * np.array([1, 9, 1, 4, 1])
    found = feature_map(X.astype(np.float16))
    assert found.points.shape == (2500, 2)
    assert found.explained is not None
    assert found.explained[0] > 0.7
    assert abs(np.corrcoef(found.points[:, 0], X[found.rows, 1])[0, 1]) > 0.99


def test_a_learning_curve_ends_with_the_whole_train_part(subject: Subject) -> None:
    assert subject.X is not None
    y = labels()
    context = make_fit_context(subject.X, read_targets(y), subject.split, HeadOptions(), row_keys(240), lambda *_: None)
    points = learning_curve(context, subject.test_rows)
    assert points[-1].rows == len(subject.split.rows(TRAIN))
    assert points[-1].accuracy == subject.record["metrics"]["accuracy"]
    assert [point.rows for point in points] == sorted({point.rows for point in points})


def test_a_fine_tune_has_a_page_of_its_own(subject: Subject) -> None:
    from jdq.worker.finetune.options import FineTuneOptions
    from jdq.worker.finetune.record import DataOrigin, FineTuneRecord

    record = FineTuneRecord(
        options=FineTuneOptions(encoder="facebook/bart-base"), classes=subject.classes, multi_label=False,
        origin=DataOrigin(dataset="demo"), split_digest=subject.split.digest, rows=subject.split.counts(),
        max_length=512, n_truncated=3,
        base_weights="ab", base_tokenizer="cd", device="NVIDIA H100", precision="bfloat16",
        best_step=20, steps=30, resumed=1, training_time_s=61.0, wall_time_s=65.0, created_at="2026-01-01",
        versions={"torch": "2"}, metrics=subject.record["metrics"], intervals=subject.record["intervals"],
        history=[{"epoch": e, "step": 10 * e, "validation_loss": 1 / e} for e in (1.0, 2.0, 3.0)],
        step_losses=[(step, 1 / step) for step in range(1, 31)],
    )  # fmt: skip
    page = render(replace(subject, kind="fine-tune", record=msgspec.to_builtins(record), X=None))
    headings = Outline(page).headings
    assert "Loss" in headings and "Map of the features" not in headings
    assert "facebook/bart-base" in page and "NVIDIA H100" in page and "65.0 s" in page
