"""One table of all heads and fine-tunes: what was measured on other rows is never silently beside the others."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner, Result

from jdq.cli.main import cli
from jdq.worker.comparison import METRICS, NothingToCompare, compare_dataset
from jdq.worker.jobs.labelled import labelled_rows
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
    assert {line.id for line in found.lines} == jobs
    assert found.reference.dataset_version == version.version
    scores = [line.metrics["macro_f1"] for line in found.lines]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    for line in found.lines:
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
    assert [line.id for line in found.lines if line.comparable] == [here]
    assert found.lines[0].id == here
    assert {line.why for line in found.lines[1:]} == {f"dataset version {old.version}", "label column 'code'"}
    text = run(workplace, "compare", "table").output
    assert text.index(here) < text.index("* measured on other rows")
    assert text.count("* logreg") == 2
    older = compare_dataset(workplace.store, "table", version=old.version)
    assert [line.ground.dataset_version for line in older.lines if line.comparable] == [old.version]
    other = compare_dataset(workplace.store, "table", label_column="code")
    assert [line.ground.label_column for line in other.lines if line.comparable] == ["code"]


def test_another_split_of_the_same_rows_is_marked(workplace: Workplace) -> None:
    rows = [(text, ["x", "x|y", "y"][i % 3]) for i, (text, _) in enumerate(labelled(90))]
    version = extracted(workplace, csv_of(rows))
    for separator in (None, None, "|"):
        trained(workplace, version, separator=separator)
    whys = [line.why for line in compare_dataset(workplace.store, "table").lines]
    other = labelled_rows(version, None, separator="|").split.digest
    assert whys == ["", "", f"split {other[:8]}"]


def test_json_and_csv_hold_every_number(workplace: Workplace) -> None:
    version = extracted(workplace, csv_of(labelled(60)))
    trained(workplace, version, seed=5)
    [line] = json.loads(run(workplace, "compare", "table", "--json").stdout)["lines"]
    [row] = csv.DictReader(io.StringIO(run(workplace, "compare", "table", "--csv").stdout))
    for metric in METRICS:
        assert line[f"{metric}_low"] <= line[metric] <= line[f"{metric}_high"]
        assert float(row[metric]) == line[metric]
    assert (line["seed"], line["comparable"], row["comparable"]) == (5, True, "True")


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
    """The five lines that docs/commands.md gives."""
    import numpy as np
    from safetensors import safe_open

    from jdq.store.models import Heads
    from jdq.worker.heads.files import load_head

    version = extracted(workplace, csv_of(labelled(60)))
    path = Heads(workplace.store.root).path(trained(workplace, version).id)
    X, _, _ = workplace.store.load("table")
    with safe_open(path, "numpy") as file:
        weights, bias = file.get_tensor("weights.0"), file.get_tensor("bias.0")
        classes = json.loads(file.metadata()["head"])["record"]["classes"]
    scores = X.astype("f4") @ weights + bias
    labels = [classes[i] for i in scores.argmax(axis=1)]
    assert labels == load_head(path).predict(X)
    assert np.isfinite(scores).all()
