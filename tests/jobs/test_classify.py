"""Classifying texts, and measuring a head on labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jdq.store.datasets import NoLabels
from jdq.worker.encoder import by_name
from jdq.worker.heads.certainty import Certainty, Requested
from jdq.worker.heads.errors import NoCertainty, WrongFeatures
from jdq.worker.jobs.classifier import Classifier, load_classifier
from jdq.worker.jobs.evaluate import evaluate
from tests.jobs.cases import csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace


@pytest.fixture
def head(workplace: Workplace) -> Classifier:
    """A head on 60 rows."""
    job = trained(workplace, extracted(workplace, csv_of(labelled(60)))).id
    return load_classifier(workplace.store, job, None, "cpu")


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
    answers = list(classifier().predictions(["b x", " ", "a ?x"]))
    assert [answer["label"] for answer in answers] == ["b", None, "a"]
    assert list(answers[0]["probabilities"]) == ["b", "a"]
    assert answers[1]["probabilities"] is None
    assert [answer["warnings"][:1] for answer in answers] == [
        [],
        ["the text is empty"],
        ["the tokenizer does not know 1 of 2 tokens"],
    ]
    assert [answer["label"] for answer in classifier().predictions(["", ""])] == [None, None]
    assert list(classifier().predictions([])) == []


def promising(to_answer: float, in_set: float) -> Certainty:
    """The same at every level."""
    return Certainty(rows=20, texts=20.0, answers=(to_answer,) * 50, sets=(in_set,) * 50)


def test_an_uncertain_text_has_no_label_and_a_set_has_the_likely_ones() -> None:
    requested = Requested(abstain_at=0.9, sets=0.8)
    [sure] = classifier(certainty=promising(0.85, 0.05)).predictions(["b x"], requested)
    assert (sure["label"], sure["set"], sure["warnings"]) == ("b", ["b", "a"], [])
    [unsure, empty] = classifier(certainty=promising(0.95, 0.5)).predictions(["b x", " "], requested)
    assert (unsure["label"], unsure["set"], unsure["warnings"]) == (None, ["b"], ["too uncertain for a label"])
    assert empty["label"] is None
    [only_sets] = classifier(certainty=promising(0.95, 0.5)).predictions(["b x"], Requested(sets=0.9))
    assert (only_sets["label"], only_sets["set"]) == ("b", ["b"])
    with pytest.raises(NoCertainty):
        list(classifier().predictions(["b x"], requested))


def test_of_label_sets_only_certain_labels_are_given(workplace: Workplace) -> None:
    promise, requested = promising(0.95, 0.05), Requested(abstain_at=0.9, sets=0.9)
    [unsure] = classifier(multi_label=True, certainty=promise).predictions(["a|b x"], requested)
    assert (unsure["label"], unsure["warnings"]) == (None, ["too uncertain for a label"])
    sure = classifier(multi_label=True, certainty=promising(0.85, 0.5))
    [found] = sure.predictions(["a|b x"], requested)
    assert (found["label"], found["set"]) == ("a|b", ["a", "b"])
    version = workplace.imported("text,label\na|b x,a\nb y,b|c\n")
    kept = evaluate(sure, version, "label", requested)["certain"]
    assert (kept["answered"], kept["right"], kept["covered"]) == (1.0, pytest.approx(2 / 3), 0.75)


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
    [answer] = classifier(max_length=3).predictions(["a b c d e"])
    [warning] = answer["warnings"]
    assert warning == "truncated: 5 tokens, of which 3 are used"


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


def test_a_head_is_measured_on_its_own_rows_as_when_it_was_trained(workplace: Workplace, head: Classifier) -> None:
    [version] = workplace.store.datasets.list()
    measured = evaluate(head, version, None)
    assert measured["rows"] == 60
    assert measured["accuracy"] > 0.5


def test_only_texts_that_the_store_lacks_are_computed_and_they_are_stored(
    workplace: Workplace, head: Classifier, monkeypatch: pytest.MonkeyPatch
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
    evaluate(head, version, None)
    assert encoded == []
    more = workplace.imported(csv_of(labelled(61)), name="more")
    first = evaluate(head, more, None)
    assert encoded == more.texts(np.array([60]))
    assert evaluate(head, more, None) == first
    assert len(encoded) == 1


def test_a_head_whose_encoder_has_changed_classifies_nothing(head: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    space_of = by_name.space_of
    monkeypatch.setattr(by_name, "space_of", lambda name, **options: space_of("hash:17", **options))
    with pytest.raises(WrongFeatures, match="the head was trained in the feature space"):
        list(head.predictions(["posting number 4"]))
