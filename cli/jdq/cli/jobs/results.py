"""A job's result as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jdq.cli.jobs.progress import describe_result
from jdq.cli.output import counted, duration, print_json, print_table, say

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job

UNKNOWN_SHARE = 0.01
MOST = 10  # pairs of labels


def print_result(job: Job) -> None:
    """Prints the result of a job that succeeded."""
    record = describe_result(job)
    match job.kind:
        case "extract":
            _print_extract(record)
        case "train-head":
            print_head(record)
        case "fine-tune":
            print_model(record)
        case "predict":
            _print_predictions(record)
        case "find-duplicates":
            _print_duplicates(record)
        case "find-label-errors":
            _print_label_errors(record)
        case _:
            print_json(record)


def _print_extract(record: dict[str, Any]) -> None:
    by = f" by the {' and '.join(record['paths'])} path" if record["paths"] and record["computed"] else ""
    say(f"{record['computed']:,} computed{by}, {record['reused']:,} reused")
    if record["skipped"]:
        say(f"{counted(record['skipped'], 'text')} without a finite feature left out; jdq logs names the rows")
    # Unknown tokens are counted in whole texts; jobs of older workers counted all tokens only after truncation.
    tokens = max(record["tokens_before_truncation"], record["unknown_tokens"])
    if record["unknown_tokens"] > UNKNOWN_SHARE * tokens:
        share = record["unknown_tokens"] / tokens
        say(f"warning: the tokenizer does not know {share:.1%} of the tokens; is it the right encoder?", err=True)
    _say_truncated(record["truncated"], record["max_length"])
    say(f"dataset {record['dataset']} {record['version']}, {record['rows']:,} rows x {record['dim']}")
    for pooling, space in record.get("spaces", {"cls": record["space"]}).items():
        say(f"feature space {space} ({record['encoder']}, {record['precision']}, {pooling})")
    if reason := record.get("pooling_reason"):
        say(f"pooling {record['pooling']}: {reason}")
    say(f"took {duration(record['wall_s'])}")


def _print_duplicates(record: dict[str, Any]) -> None:
    other = "the other parts" if record["across_split"] else record["against"] or "earlier rows"
    rows = f"{record['rows']:,} rows of {record['dataset']} {record['version']}"
    say(f"{record['found']:,} of {rows} are near-duplicates of {other}, {record['equal_texts']:,} of them equal texts")
    say(f"similarity: at least {record['least']:.3f}; median of any two texts: {record['typical']:.3f}")
    for warning in record["warnings"]:
        say(f"warning: {warning}", err=True)


def _print_label_errors(record: dict[str, Any]) -> None:
    of = f"{record['rows']:,} labels of {record['dataset']} {record['version']} in column {record['label_column']}"
    say(f"{record['suspects']:,} of {of} are probably wrong; estimated errors: {record['estimated_errors']:,}")
    print_table(
        ["given", "suggested", "rows"], [[given, other, f"{n:,}"] for given, other, n in record["pairs"][:MOST]]
    )
    for warning in record["warnings"]:
        say(f"warning: {warning}", err=True)


def print_head(record: dict[str, Any]) -> None:
    """Prints a head: its record, with its id as `head_id`."""
    origin = record["origin"]
    say(f"head {record['head_id']} ({record['head']}) on {origin['dataset']} {origin['dataset_version']}")
    if record["params"]:
        say("parameters: " + ", ".join(f"{name}={value}" for name, value in record["params"].items()))
    if choice := record.get("choice"):
        kind, C = choice.get("kind", "linear"), record["params"].get("C")
        say(f"{kind if C is None else f'{kind}, C={C:g}'}: {choice['why']}")
    if search := record.get("search"):
        best = search["trials"][0]["score"]
        say(f"the best of {len(search['trials'])} trials: {search['metric']} {best:.3f} in cross-validation")
    _print_measured(record)
    if repeats := record.get("repeats"):
        spread = [(name, repeats["metrics"][name]) for name in ("accuracy", "macro_f1")]
        shown = ", ".join(f"{name} {of['mean']:.3f} +- {of['std']:.3f}" for name, of in spread)
        say(f"on {repeats['splits']} splits: {shown}".replace("macro_f1", "macro-F1"))
    if cv := record.get("cv"):
        scores = cv["metrics"]["macro_f1"]
        say(f"{cv['folds']}-fold cross-validation: macro-F1 {scores['mean']:.3f} +- {scores['std']:.3f}")
    for line in forecast_lines(record):
        say(line)


def forecast_lines(record: dict[str, Any]) -> list[str]:
    """What more labels or a fine-tune would bring to a head; empty if the job has no forecast."""
    if (forecast := record.get("forecast")) is None:
        return []
    value, low, high = forecast["with_labels"]
    of_labels = f"{value:.3f} ({low:.3f} to {high:.3f})"
    worst, best = forecast["fine_tune"]
    verdict = "could pay" if forecast["pays"] else "more labels would pay off more"
    return [
        f"forecast with {forecast['labels']:,} more labels: accuracy {of_labels}",
        f"forecast with a fine-tune: accuracy {worst:.3f} (then keep the head) to {best:.3f}; {verdict}",
    ]


def print_model(record: dict[str, Any]) -> None:
    """Prints a fine-tune: its record, with its id as `model_id`."""
    origin, options = record["origin"], record["options"]
    say(f"model {record['model_id']} on {origin['dataset']} {origin['dataset_version']}")
    resumed = f", resumed {counted(record['resumed'], 'time')}" if record["resumed"] else ""
    trained = f"{record['steps']:,} steps in {duration(record['training_time_s'])} on {record['device']}{resumed}"
    say(f"fine-tuned from {options['encoder']}: {trained}; the best at step {record['best_step']:,}")
    _say_truncated(record["n_cut"], record["max_length"])
    _print_measured(record)


def _say_truncated(count: int, max_length: int) -> None:
    if count:
        say(f"{counted(count, 'text')} longer than {max_length:,} tokens, truncated")


def _print_measured(record: dict[str, Any]) -> None:
    metrics = record["metrics"]
    scores = f"accuracy {metrics['accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f}"
    say(f"test part: {metrics['rows']:,} rows, {scores}")
    print_classes(metrics)
    for warning in (*record.get("warnings", []), *metrics["notes"]):
        say(f"warning: {warning}", err=True)


def print_classes(metrics: dict[str, Any]) -> None:
    """Prints a row for each class."""
    rows = [
        [of["label"], f"{of['precision']:.3f}", f"{of['recall']:.3f}", f"{of['f1']:.3f}", str(of["support"])]
        for of in metrics["per_class"]
    ]
    print_table(["class", "precision", "recall", "F1", "rows"], rows)


def _print_predictions(record: dict[str, Any]) -> None:
    by = record["head_id"] or record["model_id"]
    say(f"{record['rows']:,} rows of {record['dataset']} {record['version']} classified by {by}")
    say(f"{record['computed']:,} texts computed, {record['reused']:,} reused, in {duration(record['wall_s'])}")
    if (abstained := record.get("abstained")) is not None:
        say(f"{abstained:,} rows are too uncertain for a label")
    print_table(["label", "rows"], [[label, f"{rows:,}"] for label, rows in record["predicted"].items()])
