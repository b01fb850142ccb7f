"""The page: a subject's analysis as one self-contained HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from jdq.worker.report import sections
from jdq.worker.report.certainty import certainty_section
from jdq.worker.report.sections import Section, duration
from jdq.worker.report.subject import Subject

HEAD_FACTS = ("head", "params", "seed", "class_weight", "per_class", "out_of_core", "trained_rows")
FINE_TUNE_FACTS = ("max_length", "n_cut", "precision", "steps", "best_step", "resumed", "base_weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number at the top of the page. at, low, high: from 0 to 1, for the bar below it."""

    name: str
    value: str
    note: str
    at: float = 0.0
    low: float | None = None
    high: float | None = None


def render(subject: Subject) -> str:
    """The page about a head or a fine-tune."""
    return page_html(
        title=subject.name,
        kicker=subject.kind,
        lead=_lead(subject),
        tiles=_tiles(subject),
        warnings=subject.record.get("warnings", ()),
        sections=_sections(subject),
        facts=_facts(subject),
    )


def page_html(
    *,
    title: str,
    kicker: str,
    lead: str,
    tiles: Sequence[Tile],
    warnings: Sequence[str],
    sections: Sequence[Section],
    facts: Sequence[tuple[str, str]],
) -> str:
    """A page: HTML with its styles and plots inside, no script, nothing loaded from anywhere."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    folder = files("jdq.worker.report")
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        kicker=f"jdq report · {kicker}",
        lead=lead,
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),
        tiles=tiles,
        warnings=warnings,
        sections=sections,
        facts=facts,
    )


def _sections(subject: Subject) -> list[Section]:
    makers = (
        sections.comparison,
        sections.confusion,
        sections.per_class,
        sections.feature_map_section,
        sections.precision_recall_section,
        sections.roc_section,
        sections.reliability_section,
        certainty_section,
        sections.learning,
        sections.losses,
        sections.search,
        sections.errors,
        sections.duplicates,
    )
    made = [section for maker in makers if (section := maker(subject)) is not None]
    return sections.without_gaps(made)


def _lead(subject: Subject) -> str:
    rows = subject.record["rows"]
    right = round(subject.record["metrics"]["accuracy"] * rows["test"])
    what = "label sets" if subject.multi_label else "texts"
    return (
        f"{right:,} of {rows['test']:,} unseen {what} of {subject.dataset} right, in {len(subject.classes)} classes, "
        f"after learning from {subject.record.get('trained_rows', rows['train']):,}."
    )


def _tiles(subject: Subject) -> list[Tile]:
    metrics, record = subject.record["metrics"], subject.record
    tiles = [
        _tile("Accuracy", "accuracy", record, _against_majority(metrics)),
        _tile("Macro-F1", "macro_f1", record, "every class counts equally"),
    ]
    if metrics.get("roc_auc") is not None:
        note = "one class against the rest, mean" if len(subject.classes) > 2 else f"of {subject.classes[1]!r}"
        tiles.append(_tile("ROC AUC", "roc_auc", record, note))
    else:
        tiles.append(_tile("Precision", "precision", record, "weighted by class"))
    seconds = record["wall_time_s"]
    device = f"on {record['device']}"
    return [*tiles, Tile(name="Trained in", value=duration(seconds), note=device)]


def _tile(name: str, metric: str, record: dict[str, Any], note: str) -> Tile:
    value = record["metrics"][metric]
    low, high = record.get("intervals", {}).get(metric, (None, None))
    shown = f"{value:.1%}" if metric == "accuracy" else f"{value:.3f}"
    if low is not None and high is not None:
        span = f"{low:.1%} to {high:.1%}" if metric == "accuracy" else f"{low:.3f} to {high:.3f}"
        note = f"{span} · {note}"
    return Tile(name=name, value=shown, note=note, at=value, low=low, high=high)


def _against_majority(metrics: dict[str, Any]) -> str:
    share = metrics.get("majority_share")
    return "complete label sets" if share is None else f"always the largest class: {share:.1%}"


def _facts(subject: Subject) -> list[tuple[str, str]]:
    record = subject.record
    origin = record.get("origin", {})
    facts = [(name.replace("_", " "), value) for name, value in origin.items()]
    facts.append(("split", record["split_digest"]))
    facts.append(("rows", ", ".join(f"{count:,} {part}" for part, count in record["rows"].items())))
    for name in HEAD_FACTS if subject.kind == "head" else FINE_TUNE_FACTS:
        facts.append((name.replace("_", " "), plain(record.get(name))))
    if subject.kind != "head":
        facts += [(name.replace("_", " "), plain(value)) for name, value in record["options"].items()]
    facts += [("made", record["created_at"]), ("versions", plain(record["versions"]))]
    return [(name, str(value)) for name, value in facts if value not in (None, "", "None")]


def plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)
