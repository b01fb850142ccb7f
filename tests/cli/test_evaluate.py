"""`jdq evaluate` and `jdq predict -`."""

from __future__ import annotations

import json

from tests.cli.conftest import TABLE, CommandLine


def test_a_head_is_measured_on_a_labelled_file(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    offline = CommandLine(jdq.workplace, {"JDQ_BROKER_URL": "redis://localhost:1/0"})
    found = offline.run("evaluate", jdq.file(TABLE + "another one,c\n", "new.csv"), "--head", head)
    lines = found.stdout.splitlines()
    assert lines[0].startswith(f"{head} on 41 rows of evaluate-new ")
    assert [line.split()[0] for line in lines[1:6]] == ["metric", "accuracy", "precision", "recall", "f1"]
    assert "1 rows have labels unknown to it: c" in found.stderr
    assert "sets with the right label (promised 0.9)" in found.stdout
    assert "labels per set: " in found.stdout
    measured = json.loads(offline.run("evaluate", "table", "--head", head, "--json").stdout)
    assert (measured["dataset"], measured["rows"]) == ("table", 40)
    assert set(measured["intervals"]) >= {"accuracy", "macro_f1"}
    levels = ("--abstain-at", "0.7", "--sets", "0.8", "--json")
    certain = json.loads(offline.run("evaluate", "table", "--head", head, *levels).stdout)["certain"]
    assert (certain["abstain_at"], certain["sets"]) == (0.7, 0.8)


def test_without_a_head_nothing_is_measured_or_imported(jdq: CommandLine) -> None:
    file = jdq.file()
    assert "give either --head or --model" in jdq.run("evaluate", file, code=2).stderr
    assert "try: jdq submit train-head" in jdq.run("evaluate", file, "--head", "none", code=4).stderr
    assert jdq.workplace.store.datasets.names() == []
