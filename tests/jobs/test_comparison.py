"""One table of all heads and fine-tunes: what was measured on other rows is never silently beside the others."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from jdq.cli.main import cli
from jdq.store.job_files import JobFiles
from jdq.store.trained import Models
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.queue.contract import Extract, FineTune
from jdq.worker.queue.records import Job
from jdq.worker.report.comparison import NothingToCompare, baselines_id, best_of, compare_dataset, pick
from jdq.worker.report.comparison_row import METRICS, fine_tune_cost
from jdq.worker.report.paired import TESTED, as_tested
from tests.jobs.cases import csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace

CODED = [(text, label, "xy"[i % 2]) for i, (text, label) in enumerate(labelled(90))]


def run(workplace: Workplace, *arguments: str) -> Result:
    found = CliRunner().invoke(cli, arguments, env=workplace.environment)
    assert found.exit_code == 0, found.output
    return found


def of_heads(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines but the baselines."""
    return [line for line in lines if line["id"] != "baseline"]


def test_heads_on_one_split_are_compared_with_intervals_and_costs(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(90)))
    jobs = {trained(workplace, version, head=head).id for head in ("logreg", "dummy", "knn")}
    found = compare_dataset(workplace.store, "table")
    tokens = workplace.jobbook.job(version.spaces()[0].job).counts["tokens"]
    assert {line.id for line in found.rows} == jobs
    assert found.reference.dataset_version == version.version
    scores = [line.metrics["macro_f1"] for line in found.rows]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    for line in found.rows:
        assert line.comparable
        assert (line.computed, line.tokens, line.reused) == (90, tokens, 0)
        low, high = line.intervals["accuracy"]
        accuracy = line.metrics["accuracy"]
        assert accuracy is not None
        assert low <= accuracy <= high


def test_other_rows_are_marked_and_stand_apart(workplace: Workplace) -> None:
    old = extracted(workplace, csv_of(CODED[:60], "text,label,code"))
    trained(workplace, old)
    new = extracted(workplace, csv_of(CODED, "text,label,code"))
    here = trained(workplace, new).id
    trained(workplace, new, label_column="code")
    found = compare_dataset(workplace.store, "table")
    assert [line.id for line in found.rows if line.comparable] == [here]
    assert found.rows[0].id == here
    assert {line.why for line in found.rows[1:]} == {f"dataset version {old.version}", "label column 'code'"}
    text = run(workplace, "compare", "table").output
    assert text.index(here) < text.index("* measured on other rows")
    assert text.count("* logreg") == 2
    older = compare_dataset(workplace.store, "table", version=old.version)
    assert [line.setting.dataset_version for line in older.rows if line.comparable] == [old.version]
    other = compare_dataset(workplace.store, "table", label_column="code")
    assert [line.setting.label_column for line in other.rows if line.comparable] == ["code"]


def test_another_split_of_the_same_rows_is_marked(workplace: Workplace) -> None:
    rows = [(text, ["x", "x|y", "y"][i % 3]) for i, (text, _) in enumerate(labelled(90))]
    version = extracted(workplace, csv_of(rows))
    for label_separator in (None, None, "|"):
        trained(workplace, version, label_separator=label_separator)
    whys = [line.why for line in compare_dataset(workplace.store, "table").rows]
    assert whys == ["", "", "label sets"]


def test_json_and_csv_hold_every_number(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    trained(workplace, version, seed=5)
    lines = json.loads(run(workplace, "compare", "table", "--json").stdout)["lines"]
    rows = list(csv.DictReader(io.StringIO(run(workplace, "compare", "table", "--csv").stdout)))
    assert sorted(line["name"] for line in lines) == ["logreg", "majority", "tf-idf"]
    [line], [row] = ([each for each in of if each["name"] == "logreg"] for of in (lines, rows))
    for metric in METRICS:
        assert float(row[metric]) == line[metric]
        if metric not in ("log_loss", "calibration_error"):
            assert line[f"{metric}_low"] <= line[metric] <= line[f"{metric}_high"]
    assert (line["seed"], line["comparable"], row["comparable"]) == (5, True, "True")


def test_a_comparison_is_written_as_other_tables_are(workplace: Workplace) -> None:
    table = csv_of(labelled(60)).replace("text,label", "text,=label", 1)
    head = trained(workplace, extracted(workplace, table, label_column="=label"))
    folder = workplace.folder
    for ending in ("csv", "jsonl", "parquet"):
        run(workplace, "compare", "table", "--to", str(folder / f"c.{ending}"))
    [line] = of_heads(json.loads(run(workplace, "compare", "table", "--json").stdout)["lines"])
    [row] = of_heads(pq.read_table(folder / "c.parquet").to_pylist())
    assert row in map(json.loads, (folder / "c.jsonl").read_text().splitlines())
    assert (row["id"], row["label_column"], row["macro_f1"]) == (head.id, "=label", line["macro_f1"])
    again = CliRunner().invoke(cli, ["compare", "table", "--to", str(folder / "c.csv")], env=workplace.environment)
    assert (again.exit_code, "--force replaces it" in again.stderr) == (2, True)
    run(workplace, "compare", "table", "--to", str(folder / "c.csv"), "--force", "--excel-safe")
    with (folder / "c.csv").open(newline="") as stream:
        assert {row["label_column"] for row in csv.DictReader(stream)} == {"'=label"}


def test_a_damaged_head_is_said_and_the_others_are_compared(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    whole = trained(workplace, version).id
    (workplace.store.root / "heads" / "train-head-broken.safetensors").write_bytes(b"no head")
    shown = run(workplace, "compare", "table")
    assert "train-head-broken" in shown.stderr
    assert whole in shown.stdout


def test_nothing_to_compare_is_said(workplace: Workplace) -> None:
    extracted(workplace, csv_of(labelled(60)))
    with pytest.raises(NothingToCompare, match="try: jdq submit train-head table"):
        compare_dataset(workplace.store, "table")


def test_heads_are_listed_shown_removed_and_exported(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    first, second = (trained(workplace, version, head=head).id for head in ("logreg", "knn"))
    listed = json.loads(run(workplace, "heads", "ls", "--dataset", "table", "--json").stdout)
    assert {(head["id"], head["what"]) for head in listed} == {(first, "logreg"), (second, "knn")}
    assert "macro-F1" in run(workplace, "heads", "show", first).stdout
    assert json.loads(run(workplace, "heads", "show", first, "--json").stdout)["split_digest"]
    target = workplace.folder / "mine.safetensors"
    run(workplace, "heads", "export", first, "-o", str(target))
    run(workplace, "heads", "rm", first)
    assert [head["id"] for head in json.loads(run(workplace, "heads", "ls", "--json").stdout)] == [second]
    assert target.is_file()


def test_an_exported_head_predicts_with_numpy_and_safetensors_alone(workplace: Workplace) -> None:
    """The lines that docs/reference/heads.md gives."""
    from safetensors.numpy import load_file

    from jdq.store.trained import Heads
    from jdq.worker.heads.files import load_head

    version = extracted(workplace, csv_of(labelled(60)))
    path = Heads(workplace.store.root).path(trained(workplace, version, head="mlp").id)
    features, _, _ = workplace.store.load("table")
    head, X = load_file(path), features.astype("float32")
    for i in range(len(head) // 2):
        X = (X if i == 0 else X.clip(min=0)) @ head[f"weights.{i}"] + head[f"bias.{i}"]
    np.testing.assert_array_equal(X.argmax(axis=1), load_head(path).predict_proba(features).argmax(axis=1))


def fine_tuned(workplace: Workplace) -> Job:
    """A fine-tune of one epoch, ended."""
    import torch

    from jdq.worker.encoder.tiny import make_tiny_bart

    torch.set_num_threads(1)
    encoder = str(make_tiny_bart(workplace.folder / "tiny", dim=32, layers=1))
    version = workplace.imported(csv_of(labelled(40, "ab")))
    options = FineTuneOptions(encoder=encoder, epochs=1, batch_size=8, learning_rate=1e-3)
    return workplace.finished(FineTune(dataset=version.name, version=version.version, options=options))


def test_a_fine_tune_costs_the_device_its_training_time_and_reuses_nothing(workplace: Workplace) -> None:
    job = fine_tuned(workplace)
    record = job.result
    assert record is not None
    [row] = compare_dataset(workplace.store, "table").rows
    assert row.device_s == record["training_time_s"] > 0
    assert (row.computed, row.reused) == (record["rows"]["train"], 0)
    # "posting number 3" and its like are 10 tokens or more of the tiny encoder; one epoch sees each train text once.
    assert row.tokens == record["train_tokens"] > 5 * record["rows"]["train"]
    assert job.counts == {"computed": row.computed, "tokens": row.tokens}
    assert fine_tune_cost({**record, "train_tokens": None})["tokens"] is None


def test_an_exported_model_is_a_plain_hugging_face_folder(workplace: Workplace, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from jdq.worker.finetune.model import load_fine_tuned

    job = fine_tuned(workplace).id
    run(workplace, "models", "export", job, "-o", str(tmp_path / "mine"))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "mine").eval()
    tokens = AutoTokenizer.from_pretrained(tmp_path / "mine")(["posting number 3"], return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens).logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(
        load_fine_tuned(tmp_path / "mine", device="cpu").predict_proba(["posting number 3"]), expected, atol=1e-6
    )
    assert model.config.id2label == {0: "a", 1: "b"}


def test_the_most_frequent_class_and_the_words_are_in_every_comparison(workplace: Workplace) -> None:
    rows = [(f"{['a menu', 'a ward'][i % 3 == 0]} number {i}", "xy"[i % 3 == 0]) for i in range(150)]
    version = extracted(workplace, csv_of(rows))
    head = trained(workplace, version)
    found = compare_dataset(workplace.store, "table")
    majority, words = (next(row for row in found.baselines if row.name == name) for name in ("majority", "tf-idf"))
    assert head.result is not None
    assert words.metrics["accuracy"] == 1.0 and words.metrics["log_loss"] is None
    assert majority.metrics["accuracy"] == head.result["metrics"]["majority_share"]
    assert majority.test_rows == words.test_rows == found.rows[0].test_rows
    assert [row.name for row in found.lines] == ["tf-idf", "logreg", "majority"]
    assert best_of(workplace.store, "table") == head.id  # not a baseline
    shown = run(workplace, "compare", "table").stdout
    assert shown.index("tf-idf") < shown.index("logreg") < shown.index("majority")
    files = JobFiles(workplace.store.root)
    before = files.folder(baselines_id("table", found.reference)).stat().st_mtime_ns
    trained(workplace, version, head="dummy")
    assert files.folder(baselines_id("table", found.reference)).stat().st_mtime_ns == before  # measured once


def test_every_line_is_tested_against_the_best_on_the_same_texts(workplace: Workplace) -> None:
    rows = [(f"{['a menu', 'a ward'][i % 3 == 0]} number {i}", "xy"[i % 3 == 0]) for i in range(150)]
    version = extracted(workplace, csv_of(rows))
    head, older = trained(workplace, version).id, trained(workplace, version, head="knn").id
    files = JobFiles(workplace.store.root)
    (files.folder(older) / "tested.npy").unlink()  # an earlier version did not keep it
    found = {row.name: row for row in compare_dataset(workplace.store, "table").lines}
    assert found["tf-idf"].against_best is None and found["knn"].against_best is None
    test, row = found["logreg"].against_best, found["logreg"]
    assert test is not None and row.metrics["macro_f1"] is not None
    assert test.difference == pytest.approx(row.metrics["macro_f1"] - 1.0)  # those of the words
    tested = files.get_array(head, TESTED)
    wrong = int((tested["true"] != tested["predicted"]).sum())
    assert wrong > 5 and test.p_value == pytest.approx(2 * 0.5**wrong)
    shown = run(workplace, "compare", "table").stdout
    assert f"{test.difference:+.3f}" in shown and f"{test.low:+.2f}..{test.high:+.2f}" in shown


def test_what_made_each_line_is_shown(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(90)))
    trained(workplace, version, per_class=5, calibrate=True, params={"C": 0.5})
    [row] = compare_dataset(workplace.store, "table").rows
    assert (row.encoder, row.pooling, row.precision) == ("hash:16", "cls", "float32")
    assert (row.calibrated, row.few_shot, row.encoder_device_s, row.learnt_rows) == (True, 5, None, 0)
    shown = run(workplace, "compare", "table").stdout
    for word in ("hash:16", "cls", "float32", "C=0.5", "5 texts per class", "calibrated"):
        assert word in shown
    assert "encoder's fine-tune" not in shown


def test_a_line_whose_encoder_has_learnt_from_test_rows_is_marked_and_shows_that_fine_tunes_cost(
    workplace: Workplace,
) -> None:
    model = fine_tuned(workplace)
    rows = [*labelled(40, "abcdefgh"), *[(f"another posting {i}", "ab"[i % 2]) for i in range(30)]]
    version = workplace.imported(csv_of(rows))
    for encoder in ("hash:16", model.id):
        workplace.finished(Extract(dataset=version.name, version=version.version, encoder=encoder))
        trained(workplace, version)
    found = {row.encoder: row for row in compare_dataset(workplace.store, "table").rows if row.name != "fine-tune"}
    assert model.result is not None
    assert found[model.id].encoder_device_s == model.result["training_time_s"]
    assert found[model.id].learnt_rows and found[model.id].why == (
        f"{found[model.id].learnt_rows} test rows left out, which its encoder has learnt from"
    )
    assert found["hash:16"].why == "" and found["hash:16"].test_rows > found[model.id].test_rows
    assert found[model.id].why in run(workplace, "compare", "table").stdout
    Models(workplace.store.root).remove(model.id)
    unknown = trained(workplace, version).id
    [row] = [row for row in compare_dataset(workplace.store, "table").rows if row.id == unknown]
    assert (row.learnt_rows, row.why) == (None, "its encoder may have learnt from test rows")


def test_the_simpler_of_two_is_picked_unless_the_other_is_better_in_the_paired_test(workplace: Workplace) -> None:
    files, keys = JobFiles(workplace.store.root), np.arange(200 * 16, dtype=np.uint32).view(np.uint8)[: 200 * 16]
    true = np.arange(200) % 2
    wrong = {"simple": 40, "better": 10, "equal": 38, "other": 10}
    for name, count in wrong.items():
        predicted = np.where(np.arange(200) < count, 1 - true, true)
        rows = slice(1 if name == "other" else 0, None)
        files.put_array(name, TESTED, as_tested(true[rows], predicted[rows], keys.reshape(200, 16)[rows]))
    picked, test = pick(workplace.store, "simple", "better")
    assert picked == "better" and test is not None and test.difference > 0.1
    assert pick(workplace.store, "simple", "equal")[0] == "simple"
    assert pick(workplace.store, "better", "simple")[0] == "better"
    assert pick(workplace.store, "simple", "other") == ("simple", None)
