"""`jdq predict`: classify one text, or the lines of standard input, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jdq.cli.certain import arguments_of, certain_options
from jdq.cli.client import Client
from jdq.cli.ids import HEAD, MODEL
from jdq.cli.output import json_option
from jdq.cli.programs import require_worker_packages, run_program, trained_path

if TYPE_CHECKING:
    from jdq.worker.heads.certainty import Requested


@click.command()
@click.argument("text", metavar="TEXT|-")
@click.option("--head", type=HEAD, help="Id of the head; see `jdq heads ls`.")
@click.option("--model", type=MODEL, help="Id of a fine-tuned model, instead of a head; see `jdq models ls`.")
@certain_options
@json_option
def predict(text: str, head: str | None, model: str | None, certain: Requested, as_json: bool) -> None:
    """Classify TEXT, or each line of stdin, on this machine.

    Prints the probability of each class, most likely first. For -, prints a line of JSON for each line of standard
    input, in order: its label, probabilities and warnings (truncated, empty, or unknown to the tokenizer). With
    --abstain-at, an uncertain text has no label; with --sets, only the classes of its set are printed (in JSON: `set`).
    Needs no Redis and no workers; for a whole table, see `jdq submit predict`.

    \b
    jdq predict "Chef for a busy kitchen" --head train-head-7kq2m9xw
    jdq predict - --head @last < texts.txt > predictions.jsonl
    """
    require_worker_packages()
    path = trained_path(Client(), head, model)
    run_program(
        "jdq.worker.programs.predict_text",
        [str(path), *(["--json"] if as_json else []), *arguments_of(certain), "--", text],
    )
