"""Predictions: every row in order with its label, other columns kept, and only new texts computed."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.store.trained import Heads
from jdq.worker.heads.certainty import Requested
from jdq.worker.heads.files import load_head
from jdq.worker.jobs.predict import predict_work
from jdq.worker.jobs.predictions import unused
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.queue.contract import ContractError, Extract, JobState, Predict
from jdq.worker.queue.records import Job
from tests.jobs.cases import csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace

NEW = [("new text 1", "é, quoted"), ("posting number 3", "x"), ("new text 2", ""), ("new text 1", "again")]


def predicted(
    workplace: Workplace,
    head: str,
    rows: Sequence[tuple[str, ...]],
    certain: Requested = Requested(),  # noqa: B008 - frozen
    **options: Any,
) -> Job:
    version = workplace.imported(csv_of(rows, "text,note"), "new", unlabelled=True, **options)
    return workplace.finished(Predict(dataset=version.name, version=version.version, head=head, certain=certain))


def table_of(workplace: Workplace, job: Job) -> list[dict[str, str]]:
    assert job.result is not None, job.error
    with (Path(workplace.environment["JDQ_STORE"]) / job.result["file"]).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def head(workplace: Workplace) -> str:
    return trained(workplace, extracted(workplace, csv_of(labelled(60)))).id


def test_rows_come_back_in_order_with_their_columns(workplace: Workplace, head: str) -> None:
    job = predicted(workplace, head, NEW)
    assert (job.state, job.counts["computed"], job.counts["reused"]) == (JobState.SUCCEEDED, 2, 2)
    rows = table_of(workplace, job)
    assert [(row["text"], row["note"]) for row in rows] == NEW
    loaded = load_head(Heads(workplace.store.root).path(head))
    X, _, _ = workplace.store.load("table")
    np.testing.assert_allclose(float(rows[1]["probability_b"]), loaded.predict_proba(X[3:4])[0, 1], rtol=1e-4)
    for row in rows:
        likeliest = max("abc", key=lambda name: float(row[f"probability_{name}"]))
        assert row["predicted_label"] == likeliest
    assert rows[0]["predicted_label"] == rows[3]["predicted_label"]


def test_nothing_is_computed_for_texts_that_the_store_has(workplace: Workplace, head: str) -> None:
    first = predicted(workplace, head, NEW)
    again = predicted(workplace, head, list(reversed(NEW)))
    assert (again.counts.get("computed", 0), again.counts["reused"], again.chunks_total) == (0, 4, 2)
    assert [row["predicted_label"] for row in table_of(workplace, again)] == [
        row["predicted_label"] for row in reversed(table_of(workplace, first))
    ]


def test_every_kind_of_line_end_in_a_cell_or_a_class_comes_back(workplace: Workplace) -> None:
    classes = ["one\rclass", "an\nother", "a\r\nthird"]
    rows = [(f"{text}\rline {n}", classes[n % 3]) for n, (text, _) in enumerate(labelled(60))]
    head = trained(workplace, extracted(workplace, csv_of(rows))).id
    found = table_of(workplace, predicted(workplace, head, rows))
    assert [(row["text"], row["note"]) for row in found] == rows
    assert {row["predicted_label"] for row in found} <= set(classes)


def test_a_row_without_text_is_kept_and_has_no_prediction(workplace: Workplace, head: str) -> None:
    job = predicted(workplace, head, [NEW[0], ("  ", "blank"), NEW[1]], empty_text="keep")
    blank = table_of(workplace, job)[1]
    assert set(blank.values()) == {"  ", "blank", ""}
    assert blank["note"] == "blank"
    assert job.result is not None
    assert sum(job.result["predicted"].values()) == 2


def test_a_table_that_does_not_read_back_is_not_published_and_tried_again(
    workplace: Workplace, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdq.store.table.written.read_records", lambda path, **_: [])
    job = predicted(workplace, head, NEW)
    assert job.state is JobState.RUNNING
    assert any("does not read back as it was written" in event["reason"] for event in job.log)
    assert list(workplace.store.root.glob(f"runs/{job.id}/*predictions*")) == []


def test_a_large_table_is_written_in_blocks(workplace: Workplace, head: str) -> None:
    rows = [(f"line {n} " + "x" * (n % 40), str(n)) for n in range(5000)]
    job = predicted(workplace, head, rows)
    assert job.chunks_total > 3
    assert [row["note"] for row in table_of(workplace, job)] == [str(n) for n in range(5000)]


def test_label_sets_are_joined_by_their_separator(workplace: Workplace) -> None:
    rows = [(text, ["x", "x;y", "y"][i % 3]) for i, (text, _) in enumerate(labelled(60))]
    version = extracted(workplace, csv_of(rows))
    head = trained(workplace, version, label_separator=";").id
    found = {row["predicted_label"] for row in table_of(workplace, predicted(workplace, head, rows))}
    assert found <= {"x", "y", "x;y", ""}


def test_uncertain_rows_get_no_label_and_sets_have_a_column(workplace: Workplace, head: str) -> None:
    certainty = load_head(Heads(workplace.store.root).path(head)).record.certainty
    assert certainty is not None
    rows = [*NEW, ("  ", "blank"), *((text, "") for text, _ in labelled(40))]
    job = predicted(workplace, head, rows, Requested(abstain_at=0.5, sets=0.6), empty_text="keep")
    found = table_of(workplace, job)
    names = [name for name in found[0] if name not in ("text", "note")]
    assert names == ["label_set", "predicted_label", "probability_a", "probability_b", "probability_c"]
    assert set(found[4].values()) == {"  ", "blank", ""}
    abstained = 0
    for row in found[:4] + found[5:]:
        of = {name: float(row[f"probability_{name}"]) for name in "abc"}
        best = max(of, key=lambda name: of[name])
        unsure = of[best] < certainty.least_to_answer(0.5)
        assert row["predicted_label"] == ("" if unsure else best)
        assert row["label_set"] == "|".join(name for name, value in of.items() if value >= certainty.least_in_set(0.6))
        abstained += unsure
    assert job.result is not None
    assert job.result["abstained"] == abstained > 0
    assert "" not in job.result["predicted"]
    assert "abstained" not in (predicted(workplace, head, NEW, Requested(sets=0.6)).result or {})


def test_of_label_sets_the_certain_labels_are_given_and_the_likely_ones_are_in_the_set(workplace: Workplace) -> None:
    rows = [
        (f"{n} {['ward', 'ward menu', 'menu', 'nothing'][n % 4]}", ["x", "x;y", "y", ""][n % 4]) for n in range(120)
    ]
    version = extracted(workplace, csv_of(rows), missing_labels="keep")
    head = trained(workplace, version, head="auto", label_separator=";").id
    record = load_head(Heads(workplace.store.root).path(head)).record
    assert record.certainty is not None
    job = predicted(workplace, head, rows, Requested(abstain_at=0.95, sets=0.5))
    given, in_set = record.certainty.least_to_answer(0.95), record.certainty.least_in_set(0.5)
    found = table_of(workplace, job)
    for row in found:
        p = [float(row[f"probability_{name}"]) for name in "xy"]
        labels = [
            name for name, of, least in zip("xy", p, record.thresholds, strict=True) if of >= max(least, given) - 1e-6
        ]
        assert row["predicted_label"] == ";".join(labels)
        assert row["label_set"] == "|".join(name for name, of in zip("xy", p, strict=True) if of >= in_set - 1e-6)
    assert {row["predicted_label"] for row in found} == {"x", "x;y", "y", ""}


def test_a_head_that_promises_nothing_fails_the_job_before_anything_is_computed(workplace: Workplace) -> None:
    # Of one text in each class none is left to be scored by the others.
    head = trained(workplace, extracted(workplace, csv_of(labelled(60))), head="auto", per_class=1).id
    job = predicted(workplace, head, NEW, Requested(sets=0.9))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert f"{head} does not know how certain it is" in job.error.message
    assert job.chunks_done == 0


def test_a_head_that_is_gone_or_damaged_fails_the_job(workplace: Workplace, head: str) -> None:
    path = Heads(workplace.store.root).path(head)
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = predicted(workplace, head, NEW)
    assert damaged.error is not None
    assert "altered or damaged" in damaged.error.message
    gone = predicted(workplace, "train-head-none", NEW)
    assert gone.error is not None
    assert "jdq heads ls" in gone.error.message
    assert gone.state is JobState.FAILED


def test_a_head_whose_encoder_has_changed_is_refused(workplace: Workplace, head: str) -> None:
    trained = Heads(workplace.store.root)
    record = load_head(trained.path(head)).record
    # The same name now makes other features: another width, in a space of its own.
    version = workplace.imported(csv_of(labelled(9)), "other")
    workplace.finished(Extract(dataset=version.name, version=version.version, encoder="hash:8"))
    import msgspec

    from jdq.worker.heads.files import save_head
    from jdq.worker.heads.head import TrainedHead

    origin = msgspec.structs.replace(record.origin, encoder="hash:8")
    other = TrainedHead(
        predictor=load_head(trained.path(head)).predictor, record=msgspec.structs.replace(record, origin=origin)
    )
    trained.put("train-head-other", save_head(other))
    job = predicted(workplace, "train-head-other", NEW)
    assert job.error is not None
    assert "feature space" in job.error.message


def test_exactly_one_of_head_and_model_is_given(workplace: Workplace) -> None:
    for spec in (Predict(dataset="d", version="v"), Predict(dataset="d", version="v", head="h", model="m")):
        with pytest.raises(ContractError, match="either a head or a model"):
            predict_work(ChunkContext(job="predict-x", chunk=0, spec=spec, runtime=workplace.runtime("cpu")))


def test_a_column_of_the_users_is_not_hidden() -> None:
    assert unused(["predicted_label", "p"], ["text", "predicted_label", "predicted_label_"]) == [
        "predicted_label__",
        "p",
    ]
