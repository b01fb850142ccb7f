"""A job's result as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.jobs.progress import describe_result
from jdq.cli.output import duration, print_table

if TYPE_CHECKING:
    from jdq.worker.queue.jobbook import Job

UNKNOWN_SHARE = 0.01


def print_result(job: Job) -> None:
    """Prints what came out of a job that succeeded."""
    facts = describe_result(job)
    match job.kind:
        case "extract":
            _print_extract(facts)
        case "train-head":
            print_head(facts)
        case "fine-tune":
            print_model(facts)
        case "predict":
            _print_predictions(facts)


def _print_extract(facts: dict[str, Any]) -> None:
    by = f" by the {' and '.join(facts['paths'])} path" if facts["paths"] and facts["computed"] else ""
    click.echo(f"{facts['computed']:,} computed{by}, {facts['reused']:,} reused")
    if facts["skipped"]:
        click.echo(f"{facts['skipped']:,} texts have no finite feature and were left out; jdq logs names their rows")
    if facts["unknown_tokens"] > UNKNOWN_SHARE * facts["tokens"]:
        share = facts["unknown_tokens"] / facts["tokens"]
        click.echo(
            f"warning: the tokenizer does not know {share:.1%} of the tokens; is it the right encoder?", err=True
        )
    if facts["truncated"]:
        click.echo(f"{facts['truncated']:,} texts were longer than {facts['max_length']:,} tokens and were truncated")
    click.echo(f"dataset {facts['dataset']} {facts['version']}, {facts['rows']:,} rows x {facts['dim']}")
    click.echo(f"feature space {facts['space']} ({facts['encoder']}, {facts['precision']})")
    click.echo(f"took {duration(facts['wall_s'])}")


def print_head(facts: dict[str, Any]) -> None:
    """Prints a head: its record, with its id as `head_id`."""
    origin = facts["origin"]
    click.echo(f"head {facts['head_id']} ({facts['head']}) on {origin['dataset']} {origin['dataset_version']}")
    if facts["params"]:
        click.echo("parameters: " + ", ".join(f"{name}={value}" for name, value in facts["params"].items()))
    if search := facts.get("search"):
        best = search["trials"][0]["score"]
        click.echo(f"the best of {len(search['trials'])} trials: {search['metric']} {best:.3f} in cross-validation")
    _print_measured(facts)
    if cv := facts.get("cv"):
        scores = cv["metrics"]["macro_f1"]
        click.echo(f"{cv['folds']}-fold cross-validation: macro-F1 {scores['mean']:.3f} +- {scores['std']:.3f}")


def print_model(facts: dict[str, Any]) -> None:
    """Prints a fine-tune: its record, with its id as `model_id`."""
    origin, options = facts["origin"], facts["options"]
    click.echo(f"model {facts['model_id']} on {origin['dataset']} {origin['dataset_version']}")
    resumed = f", resumed {facts['resumed']} times" if facts["resumed"] else ""
    trained = f"{facts['steps']:,} steps in {duration(facts['training_time_s'])} on {facts['device']}{resumed}"
    click.echo(f"fine-tuned from {options['encoder']}: {trained}; the best at step {facts['best_step']:,}")
    if facts["n_cut"]:
        click.echo(f"{facts['n_cut']:,} texts were longer than {facts['max_length']:,} tokens and were truncated")
    _print_measured(facts)


def _print_measured(facts: dict[str, Any]) -> None:
    metrics = facts["metrics"]
    scores = f"accuracy {metrics['accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f}"
    click.echo(f"test part: {metrics['rows']:,} rows, {scores}")
    rows = [
        [of["label"], f"{of['precision']:.3f}", f"{of['recall']:.3f}", f"{of['f1']:.3f}", str(of["support"])]
        for of in metrics["per_class"]
    ]
    print_table(["class", "precision", "recall", "F1", "rows"], rows)
    for warning in (*facts.get("warnings", []), *metrics["notes"]):
        click.echo(f"warning: {warning}", err=True)


def _print_predictions(facts: dict[str, Any]) -> None:
    by = facts["head_id"] or facts["model_id"]
    click.echo(f"{facts['rows']:,} rows of {facts['dataset']} {facts['version']} classified by {by}")
    click.echo(f"{facts['computed']:,} texts computed, {facts['reused']:,} reused, in {duration(facts['wall_s'])}")
    print_table(["label", "rows"], [[label, f"{rows:,}"] for label, rows in facts["predicted"].items()])
    click.echo(f"the table: jdq result {facts['job']} --to out.csv", err=True)
