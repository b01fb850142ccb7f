"""`jdq compare`: the heads and fine-tunes of a dataset in one table."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import Client
from jdq.cli.ids import DATASET, VERSION
from jdq.cli.jobs.tables import Target, target_options, write_table
from jdq.cli.output import duration, fits, json_option, print_bands, print_json, print_table, say
from jdq.cli.paths import STDOUT
from jdq.worker.report.comparison import BASELINE
from jdq.worker.report.comparison_row import METRICS, price_of

if TYPE_CHECKING:
    from jdq.worker.report.comparison import Comparison
    from jdq.worker.report.comparison_row import ComparisonRow

MARK = "*"
PAIRED = ("difference", "low", "high", "p_value")
WITH_INTERVAL, WITHOUT_INTERVAL = ("accuracy", "f1", "macro_f1", "roc_auc"), ("log_loss", "calibration_error")
SCORES = ("", *(METRICS[name] for name in WITH_INTERVAL), "vs best")
COST = ("train rows", "time", "device", "computed", "tokens", "reused", "seed")
REST = ("p", *(METRICS[name] for name in WITHOUT_INTERVAL), *COST)


@click.command()
@click.argument("dataset", type=DATASET)
@click.option(
    "--version", type=VERSION, metavar="V", help="Version to compare on, or its first digits.  [default: the newest]"
)
@click.option("--label-column", metavar="L", help="Label column to compare on.  [default: the dataset's own]")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of text, like --to -.")
@target_options("File for the table (.csv, .tsv, .jsonl, .parquet), or - for stdout.")
@json_option
def compare(
    dataset: str, version: str | None, label_column: str | None, as_csv: bool, to: Target | None, as_json: bool
) -> None:
    """Compare the heads and fine-tunes of DATASET.

    The best macro-F1 is first. Below each number is its 95 % interval (over the test texts). "vs best" is the
    difference in macro-F1 from the first line; p is the p-value of McNemar's test, on the texts on which only one of
    the two is right. "majority" and "tf-idf" are the most frequent class and a classifier of words and characters,
    which any encoder should outperform. Time is training time (for a search, of all trials). Device is the time that
    the network took (for a head, to compute its features), computed and tokens are what it processed, and
    JDQ_DEVICE_HOUR_PRICE sets the price. Results on other test rows (another dataset version, label column or split, or
    an encoder that has learnt from some of them) or on sets of labels are marked with * and listed separately.

    \b
    jdq compare postings
    jdq compare postings --to postings.csv
    """
    from jdq.worker.report.comparison import compare_dataset

    client = Client()
    comparison = compare_dataset(client.store, dataset, version=version, label_column=label_column)
    hour_price = client.config.device_hour_price
    for fault in comparison.unreadable:
        say(f"warning: {fault}", err=True)
    if as_json:
        fields = asdict(comparison)
        del fields["rows"], fields["baselines"]
        print_json({**fields, "lines": [flat(row, hour_price) for row in comparison.lines]})
    elif to is not None or as_csv:
        write_comparison(comparison, to or Target(path=STDOUT), hour_price)
    else:
        print_comparison(comparison, hour_price)


def flat(row: ComparisonRow, hour_price: float = 0.0) -> dict[str, Any]:
    """A comparison row as one level of names; an interval as NAME_low and NAME_high. hour_price: of a device."""
    fields = {**asdict(row), "price": price_of(row.device_s, hour_price)}
    metrics, intervals = fields.pop("metrics"), fields.pop("intervals")
    setting, against = fields.pop("setting"), fields.pop("against_best") or dict.fromkeys(PAIRED)
    measured: dict[str, Any] = {f"against_best_{name}": value for name, value in against.items()}
    for name, value in metrics.items():
        low, high = intervals.get(name, (None, None))
        measured |= {name: value, f"{name}_low": low, f"{name}_high": high}
    why = fields.pop("why")
    return {**fields, **setting, "comparable": row.comparable, "why": why, **measured}


def write_comparison(comparison: Comparison, target: Target, hour_price: float = 0.0) -> None:
    """Writes a line per row, below the names of its fields."""
    rows = [flat(row, hour_price) for row in comparison.lines]
    names = list(rows[0])
    cells = [["" if row[name] is None else str(row[name]) for name in names] for row in rows]
    write_table([names, *cells], target, numbers_from=names.index("why") + 1)


def print_comparison(comparison: Comparison, hour_price: float = 0.0) -> None:
    """Prints the rows as tables: the comparable ones, then the others."""
    setting = comparison.reference
    fit = [row for row in comparison.lines if row.comparable]
    apart = [row for row in comparison.rows if not row.comparable]
    tested = f"{fit[0].test_rows:,} test rows" if fit else "no rows"
    rule = f" ({setting.rule})" if setting.rule else ""
    about = f"version {setting.dataset_version}, label column {setting.label_column}, split {setting.split[:8]}{rule}"
    say(f"{comparison.dataset} {about}, {tested}")
    _print_rows(fit, hour_price, marked=False)
    if not comparison.baselines:
        columns = ["--version", setting.dataset_version, "--label-column", setting.label_column]
        sets = ["--multi-label"] if setting.multi_label else []
        command = shlex.join(["jdq", "submit", "train-head", comparison.dataset, *columns, *sets])
        say(f"no TF-IDF line: these results are from an earlier version of jdq\n  try: {command}", err=True)
    if apart:
        say(f"\n{MARK} measured on other rows: not comparable with those above, nor with each other")
        _print_rows(apart, hour_price, marked=True)
    say("")
    _print_made([*fit, *apart])


def _print_rows(rows: list[ComparisonRow], hour_price: float, *, marked: bool) -> None:
    """Prints the columns with intervals, and the rest beside them, or in bands below them on a narrow terminal."""
    scores = [score_lines(row, marked=marked) for row in rows]
    headings, rest = rest_headings(hour_price), [rest_of(row, hour_price) for row in rows]
    blank = [""] * len(headings)
    beside = [
        [*line, *(cells if n == 0 else blank)]
        for lines, cells in zip(scores, rest, strict=True)
        for n, line in enumerate(lines)
    ]
    if fits([*SCORES, *headings], beside):
        print_table([*SCORES, *headings], beside)
        return
    print_bands(SCORES, [line for lines in scores for line in lines])
    say("")
    names = [row.name if row.id == BASELINE else row.id for row in rows]
    print_bands(["", *headings], [[name, *cells] for name, cells in zip(names, rest, strict=True)])


def score_lines(row: ComparisonRow, *, marked: bool) -> list[list[str]]:
    """The values with their intervals below them, and why the row is marked."""
    test = row.against_best
    values = [_number(row.metrics.get(metric)) for metric in WITH_INTERVAL]
    spans = [_span(row.intervals.get(metric)) for metric in WITH_INTERVAL]
    lines = [
        [f"{MARK} {row.name}" if marked else row.name, *values, "" if test is None else f"{test.difference:+.3f}"],
        [f"  {row.id}", *spans, "" if test is None else f"{test.low:+.2f}..{test.high:+.2f}"],
    ]
    return [*lines, [f"  {row.why}", *[""] * (len(SCORES) - 1)]] if marked else lines


def rest_headings(hour_price: float) -> tuple[str, ...]:
    """The headings of the columns without intervals; with a price if device hours have one."""
    return (*REST, "price") if hour_price else REST


def rest_of(row: ComparisonRow, hour_price: float) -> list[str]:
    """The cells without intervals, in the order of `rest_headings`."""
    metrics = [_number(row.metrics.get(metric)) for metric in WITHOUT_INTERVAL]
    times = [duration(row.wall_time_s), duration(row.device_s)]
    cost = [*times, *(_count(count) for count in (row.computed, row.tokens, row.reused))]
    cell = "-" if (known := price_of(row.device_s, hour_price)) is None else f"{known:,.2f}"
    price = [cell] if hour_price else []
    test = row.against_best
    return [
        "" if test is None else _chance(test.p_value),
        *metrics,
        f"{row.trained_rows:,}",
        *cost,
        str(row.seed),
        *price,
    ]


def _print_made(rows: list[ComparisonRow]) -> None:
    """Prints what made each row, without columns that are empty for all of them."""
    made = [
        {
            "": row.id,
            "encoder": row.encoder,
            "pooling": row.pooling,
            "precision": row.precision,
            "encoder's fine-tune": "" if row.encoder_device_s is None else duration(row.encoder_device_s),
            "trained with": ", ".join(row.details),
        }
        for row in rows
        if row.encoder
    ]
    shown = [name for name in made[0] if any(of[name] for of in made)] if made else []
    if shown:
        print_table(shown, [[of[name] for name in shown] for of in made])


def _chance(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.2f}-{interval[1]:.2f}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
