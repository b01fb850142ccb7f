"""The page about rows whose label is probably wrong."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from markupsafe import Markup, escape

from jdq.worker.report.analysis import Mistake
from jdq.worker.report.page import Tile, page_html, plain
from jdq.worker.report.sections import Section, mistake_card, plain_table

SHOWN = 60
PAIRS = 20
FACTS = ("dataset", "version", "label_column", "encoder", "space", "head", "params", "folds")


def label_errors_page(result: dict[str, Any], records: Iterable[Sequence[str]]) -> str:
    """result: of the job. records: the header and rows of its table, the likeliest error first."""
    header, *rows = islice(records, SHOWN + 1)
    suspects = [_mistake(dict(zip(header, row, strict=True))) for row in rows]
    return page_html(
        title=f"Label errors in {result['dataset']}",
        kicker="label errors",
        lead=_lead(result),
        tiles=_tiles(result),
        warnings=result["warnings"],
        sections=[_suspects(suspects, result["suspects"]), _pairs(result["pairs"])] if suspects else [_none()],
        facts=[(name.replace("_", " "), plain(result[name])) for name in FACTS],
    )


def _lead(result: dict[str, Any]) -> str:
    of = f"{result['rows']:,} labels in column {result['label_column']}"
    judged = "Each text was judged by heads that were trained on other texts."
    return f"{result['suspects']:,} of {of} are probably wrong. {judged}"


def _tiles(result: dict[str, Any]) -> list[Tile]:
    rows, estimated = result["rows"], result["estimated_errors"]
    return [
        Tile(name="Suspects", value=f"{result['suspects']:,}", note="rows in the table"),
        Tile(name="Estimated errors", value=f"{estimated:,}", note=f"{estimated / rows:.1%} of all labels"),
        Tile(name="Labels", value=f"{rows:,}", note=f"in column {result['label_column']}"),
        Tile(name="Folds", value=str(result["folds"]), note=f"of the head {result['head']}"),
    ]


def _mistake(row: dict[str, str]) -> Mistake:
    return Mistake(
        row=int(row["row"]),
        text=row["text"],
        true=row["given_label"],
        predicted=row["suggested_label"],
        p_true=1 - float(row["score"]),
        p_predicted=float(row["suggested_probability"]),
    )


def _suspects(suspects: Sequence[Mistake], total: int) -> Section:
    cards = "".join(map(mistake_card, suspects))
    text = "Likeliest first: the suggested label, then the one that the row has."
    if len(suspects) < total:
        text += f" The first {len(suspects)} of {total:,}; the table has all."
    return Section(title="Suspects", text=text, body=Markup(f"<div class=mistakes>{cards}</div>"), wide=True)


def _pairs(pairs: Sequence[tuple[str, str, int]]) -> Section:
    rows = "".join(
        f"<tr><th scope=row>{_label(given)}</th><td>{_label(suggested)}</td><td>{n:,}</td></tr>"
        for given, suggested, n in pairs[:PAIRS]
    )
    text = "Given and suggested labels. A pair that is frequent in one direction may be two classes that overlap."
    table = plain_table(("given label", "suggested label", "rows"), rows, "Given and suggested labels")
    return Section(title="Given and suggested labels", text=text, body=Markup(table), wide=True)


def _label(label: str) -> Markup:
    return escape(label or "no label")


def _none() -> Section:
    return Section(title="Suspects", body=Markup("<p class=good>No label looks wrong.</p>"), wide=True)
