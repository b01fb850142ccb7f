"""`jdq submit train-head`: which features it takes, what it refuses, and searches."""

import pytest

from tests.cli.conftest import TABLE, CommandLine


def test_a_head_is_trained_on_the_dataset_extracted_last_once_that_is_done(jdq: CommandLine) -> None:
    jdq.extracted()
    last = jdq.submit("extract", jdq.file(name="newer.csv"), "--encoder", "hash:8")
    head = jdq.submit("train-head")
    status = jdq.json("status", head)
    assert (status["dataset"], status["waits_for"]) == ("newer", [last])


def test_a_head_needs_features(jdq: CommandLine) -> None:
    assert "no dataset has been extracted yet" in jdq.run("submit", "train-head", code=2).stderr
    jdq.workplace.imported(TABLE, "bare")
    assert "has no features yet" in jdq.run("submit", "train-head", "bare", code=2).stderr
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    jdq.run("cancel", job)
    assert f"{job}, cancelled" in jdq.run("submit", "train-head", code=2).stderr


def test_a_head_is_trained_on_the_last_extraction_that_succeeded(jdq: CommandLine) -> None:
    good = jdq.extracted()
    failed = jdq.submit("extract", jdq.file(), "--encoder", "/no/such/folder")
    assert jdq.workplace.worked(failed).state == "failed"
    found = jdq.run("submit", "train-head")
    assert f"the last extraction, {failed}, failed; using the features of {good}" in found.stderr
    spec = jdq.json("status", found.stdout.strip())["spec"]
    assert spec["space"] == jdq.json("result", good)["space"]


def test_a_space_that_is_named_needs_no_extraction_that_succeeded(jdq: CommandLine) -> None:
    space = jdq.json("result", jdq.extracted())["space"]
    jdq.workplace.client.flushall()
    waiting = jdq.submit("extract", jdq.file(TABLE + "one more,a\n"), "--encoder", "hash:8", "--name", "table")
    for words in (("table",), ()):
        status = jdq.json("status", jdq.submit("train-head", *words, "--space", space[:6]))
        assert (status["spec"]["space"], status["waits_for"]) == (space, [])
    versions = {v.version: v for v in jdq.workplace.store.datasets.list()}
    named = jdq.json("status", jdq.submit("train-head", "table", "--space", space))["version"]
    assert [made.space for made in versions[named].spaces()] == [space]
    jdq.run("cancel", waiting)
    jdq.submit("train-head", "table", "--space", space)


def test_features_in_the_store_serve_where_every_extraction_of_the_queue_failed(jdq: CommandLine) -> None:
    jdq.extracted()
    jdq.workplace.client.flushall()
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:8")
    jdq.run("cancel", job)
    found = jdq.run("submit", "train-head")
    assert f"{job}, cancelled; using the features of hash:16 in the store" in found.stderr


def test_a_head_is_trained_on_what_the_store_remembers_where_the_queue_has_forgotten(jdq: CommandLine) -> None:
    jdq.extracted()
    jdq.workplace.runtime("cpu").ledger.client.flushall()
    head = jdq.trained("table", "--param", "C=0.5", "--seed", "3")
    result = jdq.json("result", head)
    assert result["params"]["C"] == 0.5
    assert result["seed"] == 3
    said = next(line for line in jdq.run("result", head).stdout.splitlines() if line.endswith(result["choice"]["why"]))
    assert said.startswith(f"{result['choice']['kind']}, C=0.5: the lowest log loss in ")


@pytest.mark.parametrize(
    ("arguments", "word", "code"),
    [
        (("--head", "logreg", "--head", "knn"), "--search --head logreg --head knn", 2),
        (("--search", "--param", "C=1"), "leave out --param", 2),
        (("--search=many",), "try: --search=50", 2),
        (("--search=0",), "try: --search=50", 2),
        (("--head", "logregg"), "logreg", 2),
        (("--param", "C"), "C", 2),
        (("--space", "0" * 12), "0" * 12, 4),
        (("--label-column", "nope"), "nope", 2),
        (("--param", "c=1"), "auto has no parameter c; it has: C, scaling, max_iter", 2),
        (("--head", "knn", "--param", "n_neighbors=0"), "must be a whole number of at least 1, not 0", 2),
        (("--param", "C=-1"), "must be a number above 0, not -1", 2),
        (("--head", "logreg", "--param", "scale=yes"), "must be true or false, not 'yes'", 2),
        (("--search", "--metric", "f2"), "no metric 'f2' of single labels; there are: accuracy", 2),
        (("--search", "--metric", "micro_f1"), "no metric 'micro_f1' of single labels", 2),
        (("--search", "--metric", "balanced_accuracy", "--multi-label"), "of label sets", 2),
        (("--version", "f" * 12), "try: jdq", 4),
    ],
)
def test_what_a_head_cannot_be_asked_for_is_said(
    jdq: CommandLine, arguments: tuple[str, ...], word: str, code: int
) -> None:
    jdq.extracted()
    assert word in jdq.run("submit", "train-head", "table", *arguments, code=code).stderr
    assert len(jdq.json("jobs")) == 1


def test_one_class_only_trains_no_head(jdq: CommandLine) -> None:
    content = "text,label,kind\n" + "".join(f"text {n},{'ab'[n % 2]},same\n" for n in range(10))
    jdq.extracted(content)
    assert "one class only: 'same'" in jdq.run("submit", "train-head", "--label-column", "kind", code=2).stderr


def test_rows_without_a_label_in_another_column_are_counted_when_a_head_is_submitted(jdq: CommandLine) -> None:
    rows = "".join(f"text {n},{'ab'[n % 2]},{'cd'[n % 2]}\n" for n in range(40))
    jdq.extracted(f"text,label,kind\n{rows}x,a,\n")
    kinds = jdq.run("submit", "train-head", "--label-column", "kind").stderr
    assert "warning: 1 of 41 rows have no label and are skipped" in kinds


def test_a_search_keeps_the_best_head(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.submit("train-head", "--search=2", "--head", "logreg", "--head", "knn", "--metric", "accuracy")
    jdq.workplace.worked(head)
    result = jdq.json("result", head)
    assert len(result["search"]["trials"]) == 2
    assert result["search"]["metric"] == "accuracy"
    assert "the best of 2 trials: accuracy" in jdq.run("result", head).stdout
