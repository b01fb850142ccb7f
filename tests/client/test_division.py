"""The rows that a job from Python tests are decided as on the command line."""

from pathlib import Path

import pandas as pd
import pytest

from jdq import Client
from jdq.client import BadRequest
from jdq.worker.heads.errors import BadParameter, BadSplit
from jdq.worker.heads.split_options import SplitOptions
from jdq.worker.queue.contract import FineTune, TrainHead
from tests.jobs.conftest import Workplace

FRAME = pd.DataFrame(
    {
        "body": [f"posting {n} of {'ab'[n % 2]}" for n in range(80)],
        "class": ["ab"[n % 2] for n in range(80)],
        "company": [f"company {n // 4}" for n in range(80)],
        "fold": [["train", "train", "dev", "test"][n % 4] for n in range(80)],
    }
)
OFFICIAL = pd.DataFrame({"body": [f"another {n} of {'ab'[n % 2]}" for n in range(30)], "class": ["a", "b"] * 15})


@pytest.fixture
def posts(local: Client) -> Client:
    local.extract(FRAME, text="body", label="class", encoder="hash:16", name="posts").wait()
    return local


def test_a_column_decides_which_rows_are_tested(posts: Client) -> None:
    assert posts.train_head("posts", split_column="fold").result().loc["rows", "value"] == 20
    searched = posts.search("posts", heads=["dummy"], split_column="fold").wait()
    assert searched.describe()["spec"]["split"] == {"column": "fold"}
    assert posts.compare("posts").loc[lambda rows: rows["id"] == searched.id, "test_rows"].tolist() == [20]


def test_groups_are_in_one_part_and_the_spread_over_splits_is_in_the_result(posts: Client) -> None:
    head = posts.train_head("posts", head="dummy", group_column="company", repeats=3, cv=2)
    metrics = head.result()
    assert head.describe()["spec"]["split"] == {"group_column": "company"}
    assert head.describe()["spec"]["repeats"] == 3
    assert list(metrics.columns) == ["value", "low", "high", "cv_mean", "cv_std", "repeats_mean", "repeats_std"]
    result = posts._connection.job(head.id).result or {}
    for name in ("cv", "repeats"):
        accuracy = result[name]["metrics"]["accuracy"]
        for figure in ("mean", "std"):
            assert metrics.loc["accuracy", f"{name}_{figure}"] == accuracy[figure]
    assert metrics.loc["rows", "value"] in range(0, 80, 4)


def test_the_best_head_of_a_search_is_measured_on_other_splits(posts: Client) -> None:
    searched = posts.search("posts", heads=["dummy"], repeats=2).wait()
    assert (posts._connection.job(searched.id).result or {})["repeats"]["splits"] == 2


def test_a_data_frame_or_a_file_or_a_job_s_dataset_is_the_test_set(posts: Client, tmp_path: Path) -> None:
    file = tmp_path / "official.csv"
    OFFICIAL.to_csv(file, index=False)
    extracted = posts.extract(OFFICIAL.head(10), text="body", label="class", encoder="hash:16", name="ten")
    for test, rows in ((OFFICIAL, 30), (file, 30), (extracted, 10), ("ten", 10)):
        assert posts.train_head("posts", head="dummy", test=test).result().loc["rows", "value"] == rows
    assert {"evaluate-texts", "evaluate-official"} <= set(posts.store.datasets.names())


def test_a_search_and_a_fine_tune_take_them_to_the_workers(workplace: Workplace, remote: Client) -> None:
    data = remote.extract(FRAME, text="body", label="class", encoder="hash:16", name="posts")
    workplace.worked(data.id)
    searched = workplace.jobbook.job(remote.search("posts", heads=["knn"], test=OFFICIAL).id)
    tuned = remote.fine_tune("posts", encoder="facebook/bart-base", group_column="company")
    tested = remote.fine_tune("posts", encoder="facebook/bart-base", test=OFFICIAL)
    test_set = SplitOptions(
        test_dataset="evaluate-texts", test_version=remote.store.datasets.get("evaluate-texts").version
    )
    assert isinstance(searched.spec, TrainHead) and searched.spec.split == test_set
    assert [workplace.jobbook.job(job).kind for job in searched.waits_for] == ["extract"]
    specs = [workplace.jobbook.job(job.id).spec for job in (tuned, tested)]
    assert [spec.split for spec in specs if isinstance(spec, FineTune)] == [
        SplitOptions(group_column="company"),
        test_set,
    ]


def test_what_cannot_decide_is_an_error_before_there_is_a_job(posts: Client) -> None:
    with pytest.raises(BadRequest, match=r"^group_column: posts has no column 'firm'; it has: body, class"):
        posts.search("posts", group_column="firm")
    with pytest.raises(BadParameter, match=r"^split_column and test cannot be combined"):
        posts.train_head("posts", split_column="fold", test=OFFICIAL)
    with pytest.raises(BadSplit, match="split column 'company' has the value 'company 0'"):
        posts.fine_tune("posts", encoder="facebook/bart-base", split_column="company")
    with pytest.raises(BadRequest, match=r"^repeats draws other splits, but split column 'fold' decides"):
        posts.train_head("posts", split_column="fold", repeats=2)
    with pytest.raises(BadRequest, match=r"^repeats must be at least 1, not 0"):
        posts.train_head("posts", repeats=0)
    with pytest.raises(BadRequest, match="the same table as posts"):
        posts.train_head("posts", test="posts")
    with pytest.raises(BadRequest, match="one table, not 2 files"):
        posts.train_head("posts", test=[Path("a.csv"), Path("b.csv")])  # type: ignore[arg-type]
    assert len(posts._connection.jobbook.jobs()) == 1
