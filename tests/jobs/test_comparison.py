"""One table of all heads and fine-tunes: what was measured on other rows is never silently beside the others."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from jdq.cli.main import cli
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.queue.contract import FineTune
from jdq.worker.queue.records import Job
from jdq.worker.report.comparison import METRICS, NothingToCompare, compare_dataset
from tests.jobs.cases import csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace

CODED = [(text, label, "xy"[i % 2]) for i, (text, label) in enumerate(labelled(90))]


def run(workplace: Workplace, *arguments: str) -> Result:
    found = CliRunner().invoke(cli, arguments, env=workplace.environment)
    assert found.exit_code == 0, found.output
    return found


def test_heads_on_one_split_are_compared_with_intervals_and_costs(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(90)))
    jobs = {trained(workplace, version, head=head).id for head in ("logreg", "dummy", "knn")}
    found = compare_dataset(workplace.store, "table")
    assert {line.id for line in found.rows} == jobs
    assert found.reference.dataset_version == version.version
    scores = [line.metrics["macro_f1"] for line in found.rows]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    for line in found.rows:
        assert line.comparable
        assert (line.computed, line.reused) == (90, 0)
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
    [line] = json.loads(run(workplace, "compare", "table", "--json").stdout)["lines"]
    [row] = csv.DictReader(io.StringIO(run(workplace, "compare", "table", "--csv").stdout))
    for metric in METRICS:
        assert line[f"{metric}_low"] <= line[metric] <= line[f"{metric}_high"]
        assert float(row[metric]) == line[metric]
    assert (line["seed"], line["comparable"], row["comparable"]) == (5, True, "True")


def test_a_comparison_is_written_as_other_tables_are(workplace: Workplace) -> None:
    table = csv_of(labelled(60)).replace("text,label", "text,=label", 1)
    head = trained(workplace, extracted(workplace, table, label_column="=label"))
    folder = workplace.folder
    for ending in ("csv", "jsonl", "parquet"):
        run(workplace, "compare", "table", "--to", str(folder / f"c.{ending}"))
    [line] = json.loads(run(workplace, "compare", "table", "--json").stdout)["lines"]
    [row] = pq.read_table(folder / "c.parquet").to_pylist()
    assert row == json.loads((folder / "c.jsonl").read_text())
    assert (row["id"], row["label_column"], row["macro_f1"]) == (head.id, "=label", line["macro_f1"])
    again = CliRunner().invoke(cli, ["compare", "table", "--to", str(folder / "c.csv")], env=workplace.environment)
    assert (again.exit_code, "--force replaces it" in again.stderr) == (2, True)
    run(workplace, "compare", "table", "--to", str(folder / "c.csv"), "--force", "--excel-safe")
    with (folder / "c.csv").open(newline="") as stream:
        assert [row["label_column"] for row in csv.DictReader(stream)] == ["'=label"]


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
    record = fine_tuned(workplace).result
    assert record is not None
    [row] = compare_dataset(workplace.store, "table").rows
    assert row.device_s == record["training_time_s"] > 0
    assert (row.computed, row.reused) == (record["rows"]["train"], 0)


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
