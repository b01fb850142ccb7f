"""`jdq predict`: classify one text, or the lines of standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.certain import certain_options
from jdq.cli.client import Client
from jdq.cli.ids import HEAD, MODEL
from jdq.cli.output import json_option, print_json_line, say
from jdq.cli.short_jobs import Compute, check_trained, short_jobs
from jdq.worker.queue.exit_codes import plain

if TYPE_CHECKING:
    from jdq.worker.heads.certainty import Requested
    from jdq.worker.queue.contract import Classify

STDIN = "-"
# Enough for full batches; a single line is answered without waiting for more.
MOST_LINES = 4096
READ_BYTES = 1 << 20


@click.command()
@click.argument("text", metavar="TEXT|-")
@click.option("--head", type=HEAD, help="Id of the head; see `jdq heads ls`.")
@click.option("--model", type=MODEL, help="Id of a fine-tuned model, instead of a head; see `jdq models ls`.")
@certain_options
@json_option
def predict(text: str, head: str | None, model: str | None, certain: Requested, as_json: bool) -> None:
    """Classify TEXT, or each line of stdin.

    Prints the probability of each class, most likely first. For -, prints a line of JSON for each line of stdin, in
    order: its label, probabilities and warnings (truncated, empty, or unknown to the tokenizer). With --abstain-at, an
    uncertain text has no label; with --sets, only the classes of its set are printed (in JSON: `set`). Computes on this
    machine, without Redis, if torch is installed, else on the workers. For a table, see `jdq submit predict`.

    \b
    jdq predict "Chef for a busy kitchen" --head train-head-7kq2m9xw
    jdq predict - --head @last < texts.txt > predictions.jsonl
    """
    from jdq.worker.queue.contract import Classify

    client = Client()
    check_trained(client, head, model)
    spec = Classify(head=head, model=model, certain=certain)
    with short_jobs(client) as compute:
        if text != STDIN:
            _print(_answers(compute, spec, [text])[0], as_json=as_json)
            return
        number = 0
        for texts in lines_of(sys.stdin.fileno()):
            for answer in _answers(compute, spec, texts):
                number += 1
                _warn(answer, f"line {number:,}: ")
                print_json_line(answer)


def _answers(compute: Compute, spec: Classify, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The label, probabilities and warnings of each text; an empty text has neither label nor probabilities."""
    import msgspec

    return msgspec.json.decode(compute(spec, texts), type=list[dict[str, Any]])


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    _warn(answer, "")
    if as_json:
        print_json_line(answer)
        return
    probabilities = answer["probabilities"] or {}
    for name in answer.get("set", probabilities):
        click.echo(f"{probabilities[name]:.3f}  {plain(name)}")


def _warn(answer: dict[str, Any], where: str) -> None:
    for warning in answer["warnings"]:
        say(f"warning: {where}{warning}", err=True)


def lines_of(stream: int) -> Iterator[list[str]]:
    """The lines of a file descriptor, those that have arrived at a time, at most MOST_LINES; CR LF ends one, too."""
    rest = b""
    while data := os.read(stream, READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for start in range(0, len(lines), MOST_LINES):
            yield list(map(_decoded, lines[start : start + MOST_LINES]))
    if rest:
        yield [_decoded(rest)]


def _decoded(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", errors="replace")
