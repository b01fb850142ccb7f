"""The page about near-duplicates."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from markupsafe import Markup

from jdq.worker.report.page import Tile, page_html, plain
from jdq.worker.report.sections import Section, excerpt

SHOWN = 60
FACTS = ("dataset", "version", "encoder", "space", "least", "typical")


def duplicates_page(result: dict[str, Any], records: Iterable[Sequence[str]]) -> str:
    """result: of the job. records: the header and rows of its table, the most similar pair first."""
    header, *rows = islice(records, SHOWN + 1)
    pairs = [dict(zip(header, row, strict=True)) for row in rows]
    return page_html(
        title=f"Near-duplicates in {result['dataset']}",
        kicker="near-duplicates",
        lead=f"{result['found']:,} of {result['rows']:,} rows nearly repeat the text of {_others(result)}.",
        tiles=_tiles(result),
        warnings=result["warnings"],
        sections=[_pairs(pairs, result)],
        facts=[(name, plain(result[name])) for name in FACTS],
    )


def _others(result: dict[str, Any]) -> str:
    if result["across_split"]:
        return "a row that heads learn from; the rows are those of the test part"
    return f"a row of {result['against']}" if result["against"] else "an earlier row"


def _tiles(result: dict[str, Any]) -> list[Tile]:
    share = f"{result['found'] / result['rows']:.1%} of {result['rows']:,} rows"
    return [
        Tile(name="Near-duplicates", value=f"{result['found']:,}", note=share),
        Tile(name="Equal texts", value=f"{result['equal_texts']:,}", note="among them"),
        Tile(name="Least similarity", value=f"{result['least']:.3f}", note="cosine of the features"),
        Tile(name="Any two texts", value=f"{result['typical']:.3f}", note="median similarity"),
    ]


def _pairs(pairs: Sequence[dict[str, str]], result: dict[str, Any]) -> Section:
    if not pairs:
        return Section(title="Pairs", body=Markup("<p class=good>No two texts are nearly equal.</p>"), wide=True)
    cards = "".join(
        f"<div class=pair><span class=share>{float(pair['similarity']):.0%}</span>"
        f"<div><small>row {int(pair['row']):,}</small>{excerpt(pair['text'])}</div>"
        f"<div><small>row {int(pair['other_row']):,}</small>{excerpt(pair['other_text'])}</div></div>"
        for pair in pairs
    )
    text = "Most similar first."
    if len(pairs) < result["found"]:
        text += f" The first {len(pairs)} of {result['found']:,}; the table has all."
    return Section(title="Pairs", text=text, body=Markup(cards), wide=True)
