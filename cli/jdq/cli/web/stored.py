"""The pages of the store: datasets and feature spaces, heads and fine-tunes, and their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jdq.cli.client import Client
from jdq.cli.store import DATASET_COLUMNS, SPACE_COLUMNS, dataset_row, space_row
from jdq.cli.trained.compare import SCORES, flat, rest_headings, rest_of, score_lines
from jdq.cli.trained.listing import COLUMNS, row, summaries
from jdq.store.maintenance.listing import list_store
from jdq.store.trained import Heads, Models
from jdq.worker.heads.options import BEST_BY, HEADS
from jdq.worker.heads.options import METRICS as SEARCHED_BY
from jdq.worker.report.comparison import BASELINE, NothingToCompare, compare_dataset
from jdq.worker.report.comparison_row import METRICS, details_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from jdq.store.trained import TrainedStore
    from jdq.worker.report.comparison_row import ComparisonRow

# The headings by which a comparison can be sorted, with their names in `flat`.
SORTED_BY = {
    **{heading: name for name, heading in METRICS.items()},
    "vs best": "against_best_difference",
    "p": "against_best_p_value",
    "train rows": "trained_rows",
    "time": "wall_time_s",
    "device": "device_s",
    "computed": "computed",
    "tokens": "tokens",
    "reused": "reused",
    "seed": "seed",
    "price": "price",
    "encoder": "encoder",
}


def data(client: Client, _: Request) -> dict[str, Any]:
    """Datasets and feature spaces."""
    summary = list_store(client.store, everything=False)
    return {
        "title": "Data",
        "damaged": summary.damaged,
        "dataset_columns": DATASET_COLUMNS,
        "datasets": list(map(dataset_row, summary.datasets)),
        "space_columns": SPACE_COLUMNS,
        "spaces": list(map(space_row, summary.spaces)),
    }


def trained(client: Client, _: Request) -> dict[str, Any]:
    """Heads and fine-tunes, newest first."""
    root = client.store.root
    stores: tuple[TrainedStore, ...] = (Heads(root), Models(root))
    return {
        "title": "Heads and models",
        "columns": [*COLUMNS],
        "tables": [(each.kind, list(map(row, summaries(each, None)))) for each in stores],
    }


def one(client: Client, request: Request) -> dict[str, Any]:
    """What made a head or fine-tune, and what was measured."""
    name, root = request.path_params["trained"], client.store.root
    store: TrainedStore = Models(root) if Models(root).has(name) else Heads(root)
    record = store.record(name)
    metrics, intervals = record["metrics"], record.get("intervals", {})
    known = {**record, **record["origin"], **record.get("options", {})}
    return {
        "title": name,
        "dataset": known["dataset"],
        "facts": [
            *([("trained with", ", ".join(details))] if (details := details_of(record)) else []),
            *((key.replace("_", " "), value) for key, value in known.items() if _is_fact(value)),
        ],
        "metrics": [
            [heading, f"{metrics[key]:.3f}", _span(intervals.get(key))]
            for key, heading in METRICS.items()
            if metrics.get(key) is not None
        ],
        "classes": [
            [of["label"], *(f"{of[key]:.3f}" for key in ("precision", "recall", "f1")), f"{of['support']:,}"]
            for of in metrics["per_class"]
        ],
    }


def _is_fact(value: object) -> bool:
    return isinstance(value, str | int | float) and value not in ("", False)


def _span(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def dataset(client: Client, request: Request) -> dict[str, Any]:
    """The comparison of the dataset's heads and fine-tunes, sorted and filtered as the address says."""
    name, hour_price = request.path_params["dataset"], client.config.device_hour_price
    sort, wanted = (request.query_params.get(each, "") for each in ("sort", "with"))
    try:
        comparison = compare_dataset(client.store, name)
    except NothingToCompare:
        lines: list[ComparisonRow] = []
    else:
        lines = [line for line in comparison.lines if wanted.casefold() in _words(line)]
    return {
        "title": name,
        "wanted": wanted,
        "sort": sort,
        "headings": [
            _heading(heading, sort, wanted)
            for heading in (*SCORES, *rest_headings(hour_price), "encoder", "trained with")
        ],
        "rows": [_cells(line, hour_price) for line in _sorted(lines, sort, hour_price)],
        "heads": HEADS,
        "metrics": SEARCHED_BY,
        "metric": BEST_BY,
    }


def _words(line: ComparisonRow) -> str:
    return " ".join((line.id, line.name, line.encoder, *line.details)).casefold()


def _heading(heading: str, sort: str, wanted: str) -> tuple[str, str, str]:
    """The heading, the address that sorts by it (in reverse if it is already chosen), and its current order."""
    if heading not in SORTED_BY:
        return heading or "head or fine-tune", "", "none"
    order = {heading: "ascending", f"-{heading}": "descending"}.get(sort, "none")
    query = {"sort": heading if order == "descending" else f"-{heading}", "with": wanted}
    return heading, "?" + urlencode(query), order


def _sorted(lines: list[ComparisonRow], sort: str, hour_price: float) -> list[ComparisonRow]:
    """Sorted by a heading, with a minus in descending order, rows without a value last; unsorted if it is none."""
    key = SORTED_BY.get(sort.removeprefix("-"))
    if key is None:
        return lines
    values = [(flat(line, hour_price)[key], line) for line in lines]
    known = sorted((pair for pair in values if pair[0] is not None), key=lambda pair: pair[0], reverse=sort[0] == "-")
    return [line for _, line in known] + [line for value, line in values if value is None]


def _cells(line: ComparisonRow, hour_price: float) -> dict[str, Any]:
    values, below, *_ = score_lines(line, marked=not line.comparable)
    return {
        "link": "" if line.id == BASELINE else f"/trained/{line.id}",
        "name": values[0],
        "below": " ".join(filter(None, (below[0].strip(), line.why))),
        "scores": list(zip(values[1:], below[1:], strict=True)),
        "rest": [*rest_of(line, hour_price), line.encoder, ", ".join(line.details)],
    }
