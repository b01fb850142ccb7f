"""Reports from the store: of a head with its learning curve, of the best of a dataset, of labelled rows only."""

import pytest

from jdq.store.errors import StoreError
from jdq.worker.jobs.labelled import split_name
from jdq.worker.jobs.learnt import OtherSplit
from jdq.worker.jobs.report import page_of
from jdq.worker.report.comparison import best_of
from tests.jobs.cases import csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace


def test_a_page_compares_the_head_with_the_others_and_draws_its_learning_curve(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(90)))
    head, other = trained(workplace, version).id, trained(workplace, version, head="dummy").id
    page = page_of(workplace.store, head)
    assert other.rpartition("-")[2] in page
    assert "Learning curve" in page
    assert "Against the others" in page


def test_rows_without_a_label_are_no_part_of_the_page(workplace: Workplace) -> None:
    rows = [(text, "" if i % 3 == 0 else "ab"[i % 2]) for i, (text, _) in enumerate(labelled(90))]
    version = extracted(workplace, csv_of(rows), missing_labels="keep")
    assert "30 of 90 rows have no label" in page_of(workplace.store, trained(workplace, version).id)


def test_a_page_about_label_sets(workplace: Workplace) -> None:
    rows = [(text, ["x", "x|y", "y"][i % 3]) for i, (text, _) in enumerate(labelled(60))]
    version = extracted(workplace, csv_of(rows))
    assert "label sets" in page_of(workplace.store, trained(workplace, version, label_separator="|").id)


def test_a_dataset_stands_for_its_best_head(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    jobs = [trained(workplace, version, head=head).id for head in ("dummy", "logreg")]
    assert best_of(workplace.store, "table") in jobs
    assert best_of(workplace.store, jobs[0]) == jobs[0]
    with pytest.raises(StoreError, match="no dataset 'nothing'"):
        best_of(workplace.store, "nothing")


def test_a_split_that_is_not_the_heads_is_refused(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    head = trained(workplace, version).id
    for path in (version.path / "splits").iterdir():
        path.unlink()
    from jdq.worker.heads.split import make_split

    drawn = make_split(version.labels(), version.keys(), seed=9)
    version.put_split(None, drawn.parts, drawn.to_json(), name=split_name(None))
    with pytest.raises(OtherSplit, match="measured on split"):
        page_of(workplace.store, head)
