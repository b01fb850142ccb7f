"""Jobs that list near-duplicates, the report about them, and the rows most similar to a text."""

from typing import Any

import numpy as np
import pytest

from jdq.store.datasets import DatasetVersion
from jdq.store.table.written import read_records
from jdq.worker.jobs.report import page_of
from jdq.worker.jobs.similar import OtherEncoder, similar_rows
from jdq.worker.queue.contract import FindDuplicates
from jdq.worker.queue.records import Job
from tests.jobs.cases import csv_of, extracted, labelled
from tests.jobs.conftest import Workplace

# Features of `hash:16` are random: a text is like another only if it is equal, so near ones are written by hand.
ROWS = [*labelled(40), ("posting number 7", "b"), ("posting number 39", "a"), ("posting number 7", "b")]


def found(workplace: Workplace, version: DatasetVersion, **options: Any) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The result and the table."""
    job = ended(workplace, version, **options)
    assert job.result is not None, job.error
    header, *rows = read_records(workplace.store.root / job.result["file"])
    return job.result | {"job": job.id}, [dict(zip(header, row, strict=True)) for row in rows]


def ended(workplace: Workplace, version: DatasetVersion, **options: Any) -> Job:
    return workplace.finished(FindDuplicates(dataset=version.name, version=version.version, **options))


def test_each_repeat_is_listed_beside_the_first_row_with_its_text(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(ROWS))
    result, rows = found(workplace, version)
    assert {(row["row"], row["other_row"]) for row in rows} == {("41", "8"), ("42", "40"), ("43", "8")}
    for row in rows:
        assert row["text"] == row["other_text"] == ROWS[int(row["row"]) - 1][0]
        assert float(row["similarity"]) == pytest.approx(1, abs=1e-5)
    assert (result["found"], result["equal_texts"], result["rows"], result["others"]) == (3, 3, 43, None)
    assert 0 < result["typical"] < 0.9
    assert result["least"] == pytest.approx(result["typical"] + 0.95 * (1 - result["typical"]), abs=1e-5)
    assert result["warnings"] == []
    workplace.runtime("cpu").job_files.check(workplace.store.root / result["file"].replace(".csv", ".json"))


def test_the_least_similarity_can_be_given_and_the_most_similar_pair_is_first(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(ROWS))
    result, rows = found(workplace, version, least=0.3)
    similarity = [float(row["similarity"]) for row in rows]
    assert similarity == sorted(similarity, reverse=True)
    assert similarity[-1] >= 0.3
    assert len(rows) > result["equal_texts"] == 3
    X = np.asarray(workplace.store.load("table")[0], dtype=np.float64)
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    for row in rows:
        here, other = int(row["row"]) - 1, int(row["other_row"]) - 1
        assert other < here
        assert float(row["similarity"]) == pytest.approx((unit[here] @ unit[:here].T).max(), abs=1e-4)


def test_rows_are_compared_with_another_dataset(workplace: Workplace) -> None:
    other = extracted(workplace, csv_of(labelled(12)[5:]), "other")
    version = extracted(workplace, csv_of(ROWS))
    result, rows = found(workplace, version, against="other", against_version=other.version)
    assert {(row["row"], row["other_row"]) for row in rows if int(row["row"]) <= 40} == {
        (str(n + 1), str(n - 4)) for n in range(5, 12)
    }
    assert {row["row"] for row in rows} >= {"41", "43"}
    assert (result["against"], result["others"]) == ("other", 7)


def test_the_test_part_is_compared_with_the_others(workplace: Workplace) -> None:
    # A text is in one part, so its copies are; a marker that the encoder cuts off makes near ones.
    rows = [(f"{text} {'same ' * 40}{n % 2}", label) for text, label in labelled(60) for n in range(2)]
    version = extracted(workplace, csv_of(rows))
    result, listed = found(workplace, version, across_split=True, least=-1.0)
    stored = version.get_split("label", name="text")
    assert stored is not None
    assert {int(row["row"]) - 1 for row in listed} == set(np.flatnonzero(stored.parts == 2).tolist())
    assert all(stored.parts[int(row["other_row"]) - 1] != 2 for row in listed)
    assert result["rows"] + result["others"] == 120


def test_rows_without_features_are_left_out_and_counted(workplace: Workplace) -> None:
    extracted(workplace, csv_of(labelled(30)), "first")
    more = workplace.imported(csv_of([*labelled(30), ("not extracted", "a")]), "more")
    space = workplace.store.datasets.get("first").spaces()[0].space
    more.record_space(space, encoder="hash:16", job="extract-x")
    result, rows = found(workplace, more)
    assert (result["rows"], rows) == (30, [])
    assert result["warnings"] == ["1 rows have no features in this feature space and are left out"]
    bare = workplace.imported("text,label\nx y,a\nz,b\n", "bare")
    failed = ended(workplace, more, against="bare", against_version=bare.version)
    assert failed.error is not None
    assert "no row of bare to compare has features" in failed.error.message


def test_the_page_shows_the_pairs_or_that_there_are_none(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of([*ROWS, ("a <b> c", "a"), ("a <b> c", "a")]))
    result, _ = found(workplace, version)
    page = page_of(workplace.store, result["job"])
    assert "Near-duplicates in table" in page
    assert "a &lt;b&gt; c" in page
    assert "row 41" in page
    clean, _ = found(workplace, extracted(workplace, csv_of(labelled(20)), "clean"))
    assert "No two texts are nearly equal" in page_of(workplace.store, clean["job"])


def test_the_rows_most_similar_to_a_text(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(ROWS))
    rows = similar_rows(workplace.store, version, "posting number 7", space=None, k=4, device="cpu")
    assert [row["row"] for row in rows[:3]] == [8, 41, 43]
    assert rows[0] == {"similarity": pytest.approx(1, abs=1e-5), "row": 8, "label": "b", "text": "posting number 7"}
    assert rows[3]["similarity"] < 0.99
    unlabelled = extracted(workplace, "text\nposting number 3\nposting number 4\n", "unlabelled", unlabelled=True)
    (first,) = similar_rows(workplace.store, unlabelled, "posting number 4", space=None, k=1, device="cpu")
    assert (first["row"], "label" in first) == (2, False)


def test_a_text_is_not_compared_by_an_encoder_that_has_changed(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(ROWS))
    space = version.spaces()[0].space
    version.record_space(space, encoder="hash:8", job="extract-x")
    with pytest.raises(OtherEncoder, match="hash:8 has changed"):
        similar_rows(workplace.store, version, "a text", space=space, k=1, device="cpu")
