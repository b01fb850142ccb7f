"""Jobs that list the rows whose label is probably wrong."""

from typing import Any

import numpy as np
import pytest

from jdq.store.table.written import read_records
from jdq.worker.jobs.report import page_of
from jdq.worker.queue.contract import FindLabelErrors
from jdq.worker.queue.records import Job
from tests.jobs.cases import csv_of, extracted
from tests.jobs.conftest import Workplace

WORDS = {"cook": "kitchen chef menu", "driver": "truck road delivery", "nurse": "ward clinic patient"}
# By hash:64, texts of the same words are neighbours only if they are equal, so the words' head finds the errors.
HYBRID = {"head": "hybrid"}


def postings(n: int = 90) -> list[tuple[str, str]]:
    names = list(WORDS)
    return [(f"{WORDS[names[i % 3]]} posting {i}", names[i % 3]) for i in range(n)]


def planted(rows: list[tuple[str, str]], *places: int) -> list[tuple[str, str]]:
    """The rows, with the next class's label at these places."""
    names = list(WORDS)
    wrong = {place: names[(names.index(rows[place][1]) + 1) % 3] for place in places}
    return [(text, wrong.get(n, label)) for n, (text, label) in enumerate(rows)]


def found(workplace: Workplace, version: Any, **options: Any) -> tuple[Job, list[dict[str, str]]]:
    """The job, ended, and its table."""
    job = workplace.finished(FindLabelErrors(dataset=version.name, version=version.version, **options))
    assert job.state == "succeeded", job.error
    assert job.result is not None
    path = workplace.store.root / job.result["file"]
    header, *rows = read_records(path)
    return job, [dict(zip(header, row, strict=True)) for row in rows]


def test_planted_errors_are_listed_first_with_the_right_label(workplace: Workplace) -> None:
    true = postings()
    version = extracted(workplace, csv_of(planted(true, 10, 40, 71)))
    job, rows = found(workplace, version, **HYBRID)
    assert {int(row["row"]) for row in rows[:3]} == {11, 41, 72}
    for row in rows[:3]:
        text, label = true[int(row["row"]) - 1]
        assert (row["text"], row["suggested_label"]) == (text, label)
        assert row["given_label"] != label
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.5
    result = job.result or {}
    assert result["suspects"] == len(rows)
    assert result["rows"] == 90
    assert sum(n for *_, n in result["pairs"]) == len(rows)
    assert result["params"]["C"] > 0
    workplace.runtime("cpu").job_files.check(workplace.store.root / result["file"].replace(".csv", ".json"))


def test_each_suspect_has_its_part_of_the_split(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(planted(postings(), *range(0, 60, 7))))
    _, rows = found(workplace, version, **HYBRID)
    stored = version.get_split("label", name="text")
    assert stored is not None
    for row in rows:
        assert row["part"] == ("train", "validation", "test")[stored.parts[int(row["row"]) - 1]]


def test_rows_without_a_label_are_no_suspects_and_keep_the_others_row_numbers(workplace: Workplace) -> None:
    rows = planted(postings(), 40)
    rows[3] = (rows[3][0], "")
    version = extracted(workplace, csv_of(rows), missing_labels="keep")
    job, listed = found(workplace, version, **HYBRID)
    assert listed[0]["row"] == "41"
    assert (job.result or {})["rows"] == 89


def test_a_label_of_one_text_only_cannot_be_judged(workplace: Workplace) -> None:
    rows = [*postings(), ("surgeon ward clinic patient", "surgeon"), ("surgeon ward clinic patient", "surgeon")]
    version = extracted(workplace, csv_of(rows))
    job, listed = found(workplace, version, **HYBRID)
    assert not {row["row"] for row in listed} & {"91", "92"}
    assert (job.result or {})["warnings"] == ["2 rows cannot be judged: no other text has their label"]


def test_a_wrong_label_in_a_set_is_replaced_and_the_others_stay(workplace: Workplace) -> None:
    places = ("office desk building", "home remote laptop")
    rows = [
        (f"{text} {places[n % 2]}", f"{label}{'|remote' * (n % 2)}") for n, (text, label) in enumerate(postings(180))
    ]
    true = dict(rows)
    rows[11] = (rows[11][0], rows[11][1].replace("|remote", ""))
    rows[20] = (rows[20][0], rows[20][1] + "|remote")
    version = extracted(workplace, csv_of(rows))
    _, listed = found(workplace, version, label_separator="|", **HYBRID)
    by_row = {int(row["row"]) - 1: row for row in listed}
    assert {11, 20} <= set(by_row)
    for place in (11, 20):
        text, suggested = by_row[place]["text"], by_row[place]["suggested_label"]
        assert set(suggested.split("|")) == set(true[text].split("|"))


def test_a_fine_tuned_encoder_that_learnt_the_labels_is_a_warning(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jdq.worker.jobs import find_label_errors
    from jdq.worker.jobs.learnt import UnknownLearning, short_keys

    version = extracted(workplace, csv_of(postings(30)))
    learnt = short_keys(np.asarray(version.keys())[:12])
    monkeypatch.setattr(find_label_errors, "learnt_by", lambda store, encoder: np.sort(learnt))
    job, _ = found(workplace, version)
    (warning,) = (job.result or {})["warnings"]
    assert warning == "the encoder has learnt from the labels of 12 rows: errors among them are hard to see"

    def unknown(store: object, encoder: str) -> None:
        raise UnknownLearning("fine-tune-x is no longer there")

    monkeypatch.setattr(find_label_errors, "learnt_by", unknown)
    job, _ = found(workplace, version)
    (warning,) = (job.result or {})["warnings"]
    assert warning.endswith("learnt from these labels: fine-tune-x is no longer there")


def test_too_few_texts_for_the_folds_fail_the_job(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(postings(4)))
    job = workplace.finished(FindLabelErrors(dataset=version.name, version=version.version, folds=9))
    assert job.state == "failed"
    assert job.error is not None
    assert "4 distinct texts to train on cannot make 9 folds" in job.error.message


def test_the_page_shows_the_suspects_and_what_is_labelled_as_what(workplace: Workplace) -> None:
    rows = planted(postings(), 10, 40)
    rows[10] = (rows[10][0] + " <b>", rows[10][1])
    version = extracted(workplace, csv_of(rows))
    job, _ = found(workplace, version, **HYBRID)
    page = page_of(workplace.store, job.id)
    assert "Label errors in table" in page
    assert "kitchen chef menu posting 10" not in page.replace("posting 10 &lt;b&gt;", "")
    assert "row 11" in page
    assert "row 41" in page
    assert "suggested label" in page


def test_the_page_of_a_clean_dataset_says_so(workplace: Workplace) -> None:
    job, rows = found(workplace, extracted(workplace, csv_of(postings())), **HYBRID)
    assert rows == []
    assert "No label looks wrong" in page_of(workplace.store, job.id)
