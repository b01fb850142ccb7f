"""Jobs that train heads: every kind, what they record, and labels that are missing, odd, or sets."""

from typing import Any

import msgspec
import numpy as np
import pytest

from jdq.store.trained import Heads
from jdq.worker.heads.features import with_texts
from jdq.worker.heads.files import load_head
from jdq.worker.heads.options import HEADS
from jdq.worker.jobs import search
from jdq.worker.jobs.labelled import labelled_rows
from jdq.worker.jobs.train_head import without_skipped
from jdq.worker.queue.contract import Extract, HeadSearch, JobState, TrainHead
from jdq.worker.queue.records import Job
from tests.jobs.cases import ENCODER, csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace


def result(job: Job) -> dict[str, Any]:
    assert job.state is JobState.SUCCEEDED, job.error
    assert job.result is not None
    return job.result


@pytest.mark.parametrize("head", HEADS)
def test_every_kind_of_head_is_trained_and_loads_again(workplace: Workplace, head: str) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    small = {"max_iter": 5} if head == "hist-gbm" else {"n_estimators": 5} if head == "random-forest" else {}
    job = trained(workplace, version, head=head, params=small)
    assert result(job)["head"] == head
    loaded = load_head(Heads(workplace.store.root).path(job.id))
    X, _, _ = workplace.store.load("table")
    assert loaded.predict_proba(with_texts(X, [text for text, _ in labelled(60)])).shape == (60, 3)
    assert loaded.record.seed == 0


def test_the_options_of_the_user_reach_the_head(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(120)))
    found = result(
        trained(
            workplace, version, params={"C": 0.5}, class_weight="balanced", calibrate=True, cv=3, seed=7, per_class=8
        )
    )
    assert found["params"]["C"] == 0.5
    assert (found["class_weight"], found["seed"], found["trained_rows"]) == ("balanced", 7, 24)
    assert found["calibration"]["method"] == "temperature"
    assert found["cv"]["folds"] == 3
    assert found["intervals"]


def test_a_heads_result_has_what_its_features_cost(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of([*labelled(50), *labelled(10)]))
    extraction = version.spaces()[0].job
    workplace.client.hset(f"jdq:job:{extraction}", "count:device_ms", 1250)
    cost = result(trained(workplace, version))["extraction"]
    job = workplace.jobbook.job(extraction)
    assert job.wall_s is not None and job.counts["tokens"] > 0
    assert cost == {
        "job": extraction,
        "computed": 50,
        "reused": 10,
        "skipped": 0,
        "tokens": job.counts["tokens"],
        "device_s": 1.25,
        "wall_time_s": pytest.approx(job.wall_s, abs=1e-3),
    }


def test_a_head_of_the_same_seed_is_the_same_head(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(90)))
    X, _, _ = workplace.store.load("table")
    heads = Heads(workplace.store.root)
    first, second = (
        load_head(heads.path(trained(workplace, version, head="mlp", seed=3).id)).predict_proba(X) for _ in range(2)
    )
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_rows_without_a_label_are_left_out_and_counted(workplace: Workplace) -> None:
    rows = [(text, "" if i % 4 == 0 else label) for i, (text, label) in enumerate(labelled(80))]
    version = extracted(workplace, csv_of(rows), missing_labels="keep")
    found = result(trained(workplace, version))
    assert sum(found["rows"].values()) == 60
    assert any("20 of 80 rows have no label" in warning for warning in found["warnings"])
    data = labelled_rows(version, None)
    assert "" not in data.labels
    again = labelled_rows(version, None)
    np.testing.assert_array_equal(data.split.parts, again.split.parts)
    assert again.split.digest == found["split_digest"]


def test_a_column_of_labels_other_than_the_datasets_own(workplace: Workplace) -> None:
    rows = [(text, label, ["01", "1", "2   "][i % 3]) for i, (text, label) in enumerate(labelled(60, "ab"))]
    version = extracted(workplace, csv_of(rows, "text,label,code"))
    found = result(trained(workplace, version, label_column="code"))
    assert found["classes"] == ["01", "1", "2   "]
    assert found["origin"]["label_column"] == "code"
    assert found["split_digest"] == result(trained(workplace, version))["split_digest"]  # a text keeps its part


def test_a_row_may_have_a_set_of_labels(workplace: Workplace) -> None:
    sets = ["remote", "remote|night", "night", ""]
    rows = [(text, sets[i % 4]) for i, (text, _) in enumerate(labelled(80))]
    version = extracted(workplace, csv_of(rows), missing_labels="keep")
    found = result(trained(workplace, version, label_separator="|"))
    assert (found["classes"], found["multi_label"]) == (["night", "remote"], True)
    assert sum(found["rows"].values()) == 80
    single = result(trained(workplace, version))
    assert single["split_digest"] != found["split_digest"]


def test_texts_that_the_extraction_skipped_are_left_out_and_counted(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    data = labelled_rows(version, None)
    skipping = workplace.jobbook.create(Extract(dataset="table", version=version.version, encoder="hash:16"))[0]
    missing = np.arange(60) == 7
    runtime = workplace.runtime("cpu")
    assert without_skipped(data, missing, skipping, runtime) is data  # it has skipped nothing: something is lost
    workplace.runtime("cpu").ledger.client.hset(f"jdq:job:{skipping}", "count:skipped", 1)
    found = without_skipped(data, missing, skipping, runtime)
    assert (len(found.labels), len(found.split.parts), 7 in found.rows) == (59, 59, False)
    assert "1 rows have no features" in found.split.warnings[0]
    assert found.split.digest != data.split.digest  # measured on other rows: compare marks it


def test_equal_texts_are_on_one_side_of_the_split(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(20) * 6))
    found = result(trained(workplace, version))
    assert any("100 of 120 rows repeat" in warning for warning in found["warnings"])
    data = labelled_rows(version, None)
    sides: dict[bytes, set[int]] = {}
    for key, part in zip(data.keys, data.split.parts, strict=True):
        sides.setdefault(key.tobytes(), set()).add(int(part))
    assert all(len(parts) == 1 for parts in sides.values())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"head": "knn", "class_weight": "balanced"}, "does not support class weights"),
        ({"head": "logreg", "params": {"gamma": 3}}, "gamma"),
        ({"head": "sklearn.naive_bayes.GaussianNB"}, "not allowed"),
    ],
)
def test_what_a_head_does_not_take_fails_the_job_immediately(
    workplace: Workplace, options: dict[str, Any], word: str
) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    job = trained(workplace, version, **options)
    assert (job.state, [event["attempt"] for event in job.log]) == (JobState.FAILED, [1])
    assert job.error is not None
    assert word in job.error.message


def test_a_classifier_that_the_administrator_allows_is_a_head(workplace: Workplace) -> None:
    name = "sklearn.naive_bayes.GaussianNB"
    workplace.environment["JDQ_CLASSIFIERS"] = f"sklearn.linear_model.RidgeClassifier, {name}"
    version = extracted(workplace, csv_of(labelled(60)))
    assert result(trained(workplace, version, head=name))["head"] == name


def test_a_search_scores_each_trial_as_a_chunk_and_refits_the_best(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(90)))
    job = trained(workplace, version, search=HeadSearch(heads=("knn", "dummy"), folds=3))
    found = result(job)
    trials = found["search"]["trials"]
    assert (len(trials), job.counts["trials_done"], job.chunks_total) == (6, 6, 8)
    assert found["head"] == trials[0]["head"]
    assert Heads(workplace.store.root).record(job.id)["search"]["folds"] == 3


def test_a_search_tries_all_poolings_of_the_encoder_and_is_refitted_in_the_best(workplace: Workplace) -> None:
    version = workplace.imported(csv_of(labelled(60)), "table")
    first = workplace.finished(Extract(dataset="table", version=version.version, encoder=ENCODER)).result or {}
    other = workplace.runtime("cpu").space(first["space"]).definition
    other = msgspec.structs.replace(other, pooling="mean")
    space = workplace.store.space(other)
    flags = (np.array([label for _, label in labelled(60)])[:, None] == np.array(["a", "b", "c"])).astype(np.float16)
    space.put(version.keys(), np.hstack([flags] * 6)[:, :16], np.full(60, 3, np.uint32), producer={})
    version.record_space(space.digest, encoder=ENCODER, job="-")
    wanted = HeadSearch(heads=("knn",), folds=5)
    spec = TrainHead(dataset="table", version=version.version, space=first["space"], search=wanted)
    found = result(workplace.finished(spec))
    assert {trial["space"] for trial in found["search"]["trials"]} == {first["space"], space.digest}
    assert found["origin"]["space"] == space.digest == found["search"]["trials"][0]["space"]


def test_a_search_ends_when_its_time_is_up_but_tries_tf_idf_in_any_case(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MORE_TRIALS", 5)
    version = extracted(workplace, csv_of(labelled(60)))
    job = trained(workplace, version, search=HeadSearch(heads=("knn", "tf-idf"), folds=2, time_s=1e-6))
    trials = result(job)["search"]["trials"]
    errors = {(trial["number"], trial["head"]): trial["error"] for trial in trials}
    assert len(errors) == 5 + 1 + 5 and errors.pop((0, "knn")) is None and errors.pop((5, "tf-idf")) is None
    assert set(errors.values()) == {"the search was out of time"}


def test_a_random_search_draws_so_many_trials(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    found = result(trained(workplace, version, search=HeadSearch(trials=4, heads=("logreg", "linear-svm"), folds=2)))
    assert [trial["head"] for trial in found["search"]["trials"]].count("logreg") == 2


def test_a_search_that_nothing_fits_says_so(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    job = trained(workplace, version, class_weight="balanced", search=HeadSearch(heads=("knn",)))
    assert job.error is not None
    assert "no kind of head is left" in job.error.message


def test_a_trial_taken_again_scores_the_same_trial(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    spec = TrainHead(
        dataset=version.name, version=version.version, search=HeadSearch(trials=3, heads=("logreg",), folds=2)
    )
    job, _ = workplace.jobbook.create(spec)
    files = workplace.runtime("cpu").job_files
    workplace.work_on(job, "cpu")
    trials = files.get_json(job, "trials")
    assert not files.put_json(job, "trials", {"trials": []})
    workplace.worked(job)
    assert files.get_json(job, "trials") == trials
    scored = msgspec.to_builtins(workplace.jobbook.job(job).result)["search"]["trials"]
    assert sorted(trial["number"] for trial in scored) == [0, 1, 2]
