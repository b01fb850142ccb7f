"""Classifying lines, and measuring a head on labelled rows, in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jdq.store.datasets import NoLabels
from jdq.store.trained import Heads
from jdq.worker.encoder import by_name
from jdq.worker.heads.certainty import Certainty, Requested
from jdq.worker.heads.errors import NoCertainty
from jdq.worker.programs.classifier import Classifier, load_classifier
from jdq.worker.programs.evaluate import evaluate
from jdq.worker.programs.predict_text import MOST_LINES, lines_of, predictions, probabilities_of
from tests.jobs.cases import csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace


@pytest.fixture
def head(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a head."""
    for name, value in workplace.environment.items():
        monkeypatch.setenv(name, value)
    return Heads(workplace.store.root).path(trained(workplace, extracted(workplace, csv_of(labelled(60)))).id)


@dataclass(frozen=True)
class Words:
    """Texts as words; the tokenizer does not know those that begin with a question mark."""

    texts: Sequence[str]
    n_tokens: np.ndarray
    n_unknown: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        words = [text.split() for text in texts]
        unknown = [sum(word.startswith("?") for word in each) for each in words]
        return cls(texts, np.array([len(each) for each in words]), np.array(unknown))


def classifier(max_length: int = 8, *, multi_label: bool = False, certainty: Certainty | None = None) -> Classifier:
    """It takes the first word of a text for its class."""

    def compute(words: Words, _: Sequence[str] = ()) -> np.ndarray:
        first = [text.split()[0].split("|") for text in words.texts]
        return np.array([[0.9 if name in names else 0.1 for name in "ab"] for names in first], dtype=np.float32)

    return Classifier(
        classes=("a", "b"),
        multi_label=multi_label,
        label_separator="|" if multi_label else None,
        thresholds=(),
        certainty=certainty,
        max_length=max_length,
        tokenize=Words.of,
        compute=compute,
        by_store=lambda texts: compute(Words.of(texts)),
    )


def test_each_line_gets_its_answer_in_order_and_an_empty_one_gets_none() -> None:
    answers = list(predictions(["b x", " ", "a ?x"], classifier()))
    assert [answer["label"] for answer in answers] == ["b", None, "a"]
    assert list(answers[0]["probabilities"]) == ["b", "a"]
    assert answers[1]["probabilities"] is None
    assert [answer["warnings"][:1] for answer in answers] == [
        [],
        ["the text is empty"],
        ["the tokenizer does not know 1 of 2 tokens"],
    ]
    assert [answer["label"] for answer in predictions(["", ""], classifier())] == [None, None]
    assert list(predictions([], classifier())) == []


def promising(to_answer: float, in_set: float) -> Certainty:
    """The same at every level."""
    return Certainty(rows=20, texts=20.0, answers=(to_answer,) * 50, sets=(in_set,) * 50)


def test_an_uncertain_text_has_no_label_and_a_set_has_the_likely_ones() -> None:
    requested = Requested(abstain_at=0.9, sets=0.8)
    [sure] = predictions(["b x"], classifier(certainty=promising(0.85, 0.05)), requested)
    assert (sure["label"], sure["set"]) == ("b", ["b", "a"])
    [unsure, empty] = predictions(["b x", " "], classifier(certainty=promising(0.95, 0.5)), requested)
    assert (unsure["label"], unsure["set"]) == (None, ["b"])
    assert empty["label"] is None
    [only_sets] = predictions(["b x"], classifier(certainty=promising(0.95, 0.5)), Requested(sets=0.9))
    assert (only_sets["label"], only_sets["set"]) == ("b", ["b"])
    with pytest.raises(NoCertainty):
        list(predictions(["b x"], classifier(), requested))


def test_what_a_head_promises_is_measured_unless_it_promises_nothing(workplace: Workplace) -> None:
    version = workplace.imported("text,label\na 1,a\na 2,b\nb 1,b\nb 2,zz\n")
    assert "certain" not in evaluate(classifier(), version, None)
    found = evaluate(classifier(certainty=promising(0.85, 0.5)), version, None)["certain"]
    assert (found["abstain_at"], found["sets"]) == (0.9, 0.9)
    assert (found["answered"], found["right"], found["covered"]) == (1.0, 0.5, 0.5)
    other = evaluate(classifier(certainty=promising(0.95, 0.05)), version, None, Requested(abstain_at=0.7))["certain"]
    assert (other["abstain_at"], other["answered"], other["covered"]) == (0.7, 0.0, 0.75)
    with pytest.raises(NoCertainty):
        evaluate(classifier(), version, None, Requested(sets=0.9))


def test_a_truncated_text_is_said() -> None:
    [answer] = predictions(["a b c d e"], classifier(max_length=3))
    [warning] = answer["warnings"]
    assert warning == "truncated: 5 tokens, of which 3 are used"


def test_lines_come_as_soon_as_they_are_written_and_in_bounded_blocks() -> None:
    reading, writing = os.pipe()
    lines = lines_of(reading)
    os.write(writing, "eins\r\nzw\u00f6lf\ndr".encode())
    assert next(lines) == ["eins", "zw\u00f6lf"]
    os.write(writing, b"ei\xff\n\n")
    assert next(lines) == ["drei\ufffd", ""]
    os.write(writing, b"x\n" * (MOST_LINES + 1) + b"last")
    os.close(writing)
    rest = list(lines)
    assert max(map(len, rest)) <= MOST_LINES
    assert list(chain(*rest)) == ["x"] * (MOST_LINES + 1) + ["last"]
    os.close(reading)


def test_the_program_reads_lines_and_writes_json(workplace: Workplace, head: Path) -> None:
    command = [sys.executable, "-m", "jdq.worker.programs.predict_text", str(head), "--", "-"]
    done = subprocess.run(command, input="posting number 4\n\n", capture_output=True, text=True, check=True)
    first, second = map(json.loads, done.stdout.splitlines())
    expected = probabilities_of("posting number 4", load_classifier(head))
    assert first["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert second["label"] is None
    assert "warning: line 2: the text is empty" in done.stderr


def test_the_scores_are_those_of_its_predictions_and_unknown_labels_count_as_wrong(workplace: Workplace) -> None:
    version = workplace.imported("text,label\na 1,a\na 2,b\nb 1,b\nb 2,zz\nb 3,\n", missing_labels="keep")
    measured = evaluate(classifier(), version, None)
    assert (measured["rows"], measured["accuracy"]) == (4, 0.5)
    low, high = measured["intervals"]["accuracy"]
    assert low <= 0.5 <= high
    assert [of["label"] for of in measured["per_class"]] == ["a", "b", "zz"]
    assert measured["notes"][:2] == [
        "1 of 5 rows have no label and are left out",
        "1 rows have labels unknown to it: zz",
    ]


def test_label_sets_are_measured_as_sets(workplace: Workplace) -> None:
    version = workplace.imported("text,label\na|b x,b|a\na y,a|c\nb z,b\n")
    measured = evaluate(classifier(multi_label=True), version, "label")
    assert measured["accuracy"] == pytest.approx(2 / 3)
    assert measured["intervals"].keys() >= {"accuracy", "macro_f1", "micro_f1"}


def test_a_table_without_labels_has_no_scores(workplace: Workplace) -> None:
    with pytest.raises(NoLabels):
        evaluate(classifier(), workplace.imported("text\na\nb\n"), None)


def test_a_head_is_measured_on_its_own_rows_as_when_it_was_trained(workplace: Workplace, head: Path) -> None:
    [version] = workplace.store.datasets.list()
    measured = evaluate(load_classifier(head), version, None)
    assert measured["rows"] == 60
    assert measured["accuracy"] > 0.5


def test_only_texts_that_the_store_lacks_are_computed_and_they_are_stored(
    workplace: Workplace, head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [version] = workplace.store.datasets.list()
    encoded: list[str] = []
    load = by_name.load

    def counting(name: str, **options: Any) -> Any:
        encoder = load(name, **options)
        tokenize = encoder.tokenize

        def counted(texts: Sequence[str]) -> Any:
            encoded.extend(texts)
            return tokenize(texts)

        return SimpleNamespace(tokenize=counted, encode=encoder.encode, path=encoder.path)

    monkeypatch.setattr(by_name, "load", counting)
    evaluate(load_classifier(head), version, None)
    assert encoded == []
    more = workplace.imported(csv_of(labelled(61)), name="more")
    first = evaluate(load_classifier(head), more, None)
    assert encoded == more.texts(np.array([60]))
    assert evaluate(load_classifier(head), more, None) == first
    assert len(encoded) == 1
