"""Classifies one text, or the lines of standard input, in this process.

``python -m jdq.worker.programs.predict_text HEAD_FILE|MODEL_FOLDER [--json] [--abstain-at A] [--sets S] -- TEXT|-``
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from jdq.worker.heads.certainty import Requested
from jdq.worker.programs.classifier import Classifier, load_classifier
from jdq.worker.queue.exit_codes import exit_on_error

STDIN = "-"
# Enough for full batches; an answer to a line that comes alone does not wait for more.
MOST_LINES = 4096
EMPTY = "the text is empty"
UNSURE = "too uncertain for a label"
NOTHING = Requested()
READ_BYTES = 1 << 20


def probabilities_of(text: str, classifier: Classifier) -> dict[str, float]:
    """The probability of each class, most likely first."""
    return _sorted(classifier, classifier.probabilities([text])[0].tolist())


def predictions(
    texts: Sequence[str], classifier: Classifier, requested: Requested = NOTHING
) -> Iterator[dict[str, Any]]:
    """Of each text: its label, the probability of each class, and warnings. An empty text has neither label nor
    probabilities; a text that is too uncertain for a label has none. Raises NoCertainty.
    """
    filled = [text for text in texts if text.strip()]
    answers = iter(_answers(filled, classifier, requested) if filled else ())
    empty = {"label": None, "probabilities": None, "warnings": [EMPTY]}
    return (next(answers) if text.strip() else empty for text in texts)


def _answers(texts: Sequence[str], classifier: Classifier, requested: Requested) -> Iterator[dict[str, Any]]:
    """The same of texts that are not empty, tokenized once."""
    tokens = classifier.tokenize(texts)
    found = classifier.compute(tokens, texts)
    for answer, warnings in zip(decided(found, classifier, requested), classifier.warnings(tokens), strict=True):
        yield {**answer, "warnings": warnings}


def decided(found: np.ndarray, classifier: Classifier, requested: Requested) -> Iterator[dict[str, Any]]:
    """Of each row of (texts, classes): its label, None where it is too uncertain; its set, if requested; and the
    probability of each class, most likely first.
    """
    certain = classifier.certain(requested)
    labels = certain.answers(classifier.labels(found), found)
    for label, values in zip(labels, found.tolist(), strict=True):
        probabilities = _sorted(classifier, values)
        answer: dict[str, Any] = {"label": None if requested.abstain_at and not label else label}
        if (least := certain.least_in_set) is not None:
            answer["set"] = [name for name, value in probabilities.items() if value >= least]
        yield {**answer, "probabilities": probabilities}


def lines_of(stream: int) -> Iterator[list[str]]:
    """The lines of a file descriptor, as many at a time as have come, at most MOST_LINES; \\\\r\\\\n ends one, too."""
    rest = b""
    while data := os.read(stream, READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for start in range(0, len(lines), MOST_LINES):
            yield list(map(_decoded, lines[start : start + MOST_LINES]))
    if rest:
        yield [_decoded(rest)]


def _decoded(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", errors="replace")


def _sorted(classifier: Classifier, values: Sequence[float]) -> dict[str, float]:
    pairs = zip(classifier.classes, values, strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


@click.command()
@click.argument("trained", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--abstain-at", type=float, help="Share of labels that must be right.")
@click.option("--sets", type=float, help="Share of sets that must have the right label.")
@exit_on_error()
def predict(trained: Path, text: str, as_json: bool, abstain_at: float | None, sets: float | None) -> None:
    """Print each class of TEXT and its probability, most likely first; of - a line of JSON for each line of stdin."""
    classifier, requested = load_classifier(trained), Requested(abstain_at=abstain_at, sets=sets)
    if text == STDIN:
        _predict_lines(classifier, requested)
        return
    tokens = classifier.tokenize([text])
    (answer,) = decided(classifier.compute(tokens, [text]), classifier, requested)
    warnings = [] if text.strip() else [EMPTY]
    unsure = [UNSURE] if answer["label"] is None else []
    for warning in [*warnings, *classifier.warnings(tokens)[0], *unsure]:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(answer))
        return
    for name in answer.get("set", answer["probabilities"]):
        click.echo(f"{answer['probabilities'][name]:.3f}  {name}")


def _predict_lines(classifier: Classifier, requested: Requested) -> None:
    number = 0
    for texts in lines_of(sys.stdin.fileno()):
        for answer in predictions(texts, classifier, requested):
            number += 1
            click.echo(msgspec.json.encode(answer))
            for warning in answer["warnings"]:
                click.echo(f"warning: line {number:,}: {warning}", err=True)


if __name__ == "__main__":
    predict()
