"""`--dry-run`: what a table holds, and what its extraction would cost, before anything is stored."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from jdq.cli.client import BadRequest
from jdq.cli.output import counted, duration, json_option, print_json, print_table, say
from jdq.cli.programs import missing_packages, program_output
from jdq.cli.submit.data import imported

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.store.table import TableOptions
    from jdq.worker.queue.contract import Extract

SHOWN_CLASSES = 20
BAR = 40

SpecFor: TypeAlias = "Callable[[DatasetVersion], Extract]"
# (files, name, options, the extraction of the imported table or None)
Show: TypeAlias = "Callable[[Sequence[str], str | None, TableOptions, SpecFor | None], None]"


def dry_run_options(help_text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds --dry-run and its --json; the command gets `dry_run`, None if it was not given."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @click.option("--dry-run", is_flag=True, help=help_text)
        @json_option
        @functools.wraps(command)
        def with_dry_run(*arguments: Any, dry_run: bool, as_json: bool, **options: Any) -> None:
            if as_json and not dry_run:
                raise BadRequest("--json is for --dry-run")
            command(*arguments, dry_run=functools.partial(_show, as_json) if dry_run else None, **options)

        return with_dry_run

    return add


def _show(as_json: bool, files: Sequence[str], name: str | None, options: TableOptions, spec_for: Any) -> None:
    """Imports the table into a temporary folder, and prints what is in it."""
    from jdq.store.datasets import Datasets

    with tempfile.TemporaryDirectory(prefix="jdq-dry-run-") as folder:
        version = imported(
            Datasets(Path(folder)), files, name=name, options=options, note=functools.partial(say, err=True)
        )
        facts = _facts(version)
        facts["extraction"] = None if spec_for is None else _estimate(version, spec_for(version))
    if as_json:
        print_json(facts)
        return
    _print_table_facts(facts)
    if spec_for is not None:
        _print_extraction(facts["extraction"])


def _facts(version: DatasetVersion) -> dict[str, Any]:
    source = version.source
    return {
        "dataset": version.name,
        "version": version.version,
        "encoding": source.encoding,
        "delimiter": source.separator,
        "columns": version.columns,
        "text_column": version.text_column,
        "label_column": version.label_column,
        "rows": version.n_rows,
        "texts": version.n_texts,
        "repeated": version.n_rows - version.n_texts,
        "empty_rows": source.n_empty_rows,
        "skipped_rows": source.n_skipped_rows,
        "unlabelled": version.record.n_unlabelled,
        "classes": version.classes,
        "warnings": source.warnings,
    }


def _estimate(version: DatasetVersion, spec: Extract) -> dict[str, Any] | None:
    """What the extraction would compute; None without the packages that count tokens."""
    import msgspec

    if not spec.encoder.startswith("hash:") and missing_packages(["transformers"]):
        return None
    arguments = [str(version.path), msgspec.json.encode(spec).decode()]
    estimate: dict[str, Any] | None = msgspec.json.decode(program_output("jdq.worker.programs.estimate", arguments))
    return estimate


def _print_table_facts(facts: dict[str, Any]) -> None:
    say(f"columns: {', '.join(facts['columns'])}")
    say(f"{counted(facts['rows'], 'row')}, {counted(facts['texts'], 'different text')}, {facts['repeated']:,} repeated")
    if left_out := facts["empty_rows"] + facts["skipped_rows"]:
        say(f"left out: {counted(left_out, 'row')} without a text")
    if classes := sorted(facts["classes"].items(), key=lambda label: -label[1]):
        print_table([facts["label_column"], "rows"], [[label, f"{rows:,}"] for label, rows in classes[:SHOWN_CLASSES]])
        if len(classes) > SHOWN_CLASSES:
            say(f"and {len(classes) - SHOWN_CLASSES:,} more")


def _print_extraction(estimate: dict[str, Any] | None) -> None:
    if estimate is None:
        missing = " and ".join(missing_packages())
        say(f"token lengths, stored texts, time and price are not known without {missing}")
        say("  try: pip install 'jdq[worker]'")
        return
    most = max(texts for _, texts in estimate["token_lengths"])
    print_table(
        ["tokens", "texts", ""],
        [[f"<= {end:,}", f"{texts:,}", "#" * -(-BAR * texts // most)] for end, texts in estimate["token_lengths"]],
    )
    if estimate["truncated"]:
        say(f"longer than {estimate['max_length']:,} tokens, to be truncated: {counted(estimate['truncated'], 'text')}")
    to_compute = f"{counted(estimate['to_compute'], 'text')} to compute with {estimate['encoder']}"
    in_chunks = f"{counted(estimate['tokens'], 'token')} in {counted(estimate['chunks'], 'chunk')}"
    say(f"{estimate['stored']:,} stored, {to_compute}: {in_chunks}")
    say(f"time: {_time(estimate)}; price: {_price(estimate)}")


def _time(estimate: dict[str, Any]) -> str:
    if estimate["wall_s"] is None:
        return "not known: no extraction with this encoder has been run"
    devices = counted(max(1, estimate["devices"]), "worker")
    rate = f", {estimate['tokens_per_s']:,.0f} tokens/s each, as before" if estimate["tokens_per_s"] else ""
    return f"about {duration(estimate['wall_s'])} ({devices}{rate})"


def _price(estimate: dict[str, Any]) -> str:
    if estimate["price"] is not None:
        return f"about {estimate['price']:,.2f}"
    return "not known: JDQ_DEVICE_HOUR_PRICE is not set" if estimate["device_s"] is not None else "not known"
