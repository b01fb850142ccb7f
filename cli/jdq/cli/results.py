"""A job's result as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.output import duration, print_table
from jdq.cli.progress import describe_result

if TYPE_CHECKING:
    from jdq.worker.ledger.jobbook import Job


def print_result(job: Job) -> None:
    """Prints what came out of a job that succeeded."""
    facts = describe_result(job)
    if job.kind == "extract":
        _print_extract(facts)
    elif job.kind == "train-head":
        _print_head(facts)


def _print_extract(facts: dict[str, Any]) -> None:
    click.echo(f"{facts['computed']:,} computed, {facts['reused']:,} reused")
    if facts["cut"]:
        click.echo(f"{facts['cut']:,} texts were longer than {facts['max_length']:,} tokens and were cut")
    click.echo(f"dataset {facts['dataset']} {facts['version']}, {facts['rows']:,} rows x {facts['dim']}")
    click.echo(f"feature space {facts['space']} ({facts['encoder']}, {facts['precision']})")
    click.echo(f"took {duration(facts['wall_s'])}")


def _print_head(facts: dict[str, Any]) -> None:
    metrics, origin = facts["metrics"], facts["origin"]
    click.echo(f"head {facts['head_id']} ({facts['head']}) on {origin['dataset']} {origin['dataset_version']}")
    scores = f"accuracy {metrics['accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f}"
    click.echo(f"test part: {metrics['rows']:,} rows, {scores}")
    rows = [
        [of["label"], f"{of['precision']:.3f}", f"{of['recall']:.3f}", f"{of['f1']:.3f}", str(of["support"])]
        for of in metrics["per_class"]
    ]
    print_table(["class", "precision", "recall", "F1", "rows"], rows)
    for warning in facts.get("warnings", []):
        click.echo(f"warning: {warning}", err=True)
