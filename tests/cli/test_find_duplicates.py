"""`jdq submit find-duplicates` and `jdq similar`."""

import json

from tests.cli.conftest import TABLE, CommandLine

REPEATED = TABLE + "text number 3 of b,b\n"


def test_near_duplicates_are_written_to_a_table_and_a_report(jdq: CommandLine) -> None:
    jdq.extracted(REPEATED)
    job = jdq.submit("find-duplicates")
    assert jdq.workplace.worked(job).state == "succeeded"
    shown = jdq.run("result", job)
    assert "1 of 41 rows of table" in shown.stdout
    assert "near-duplicates of earlier rows, 1 of them equal texts" in shown.stdout
    assert f"jdq result {job} --to out.csv" in shown.stderr
    target = jdq.workplace.folder / "pairs.jsonl"
    jdq.run("result", job, "--to", str(target))
    (line,) = target.read_text(encoding="utf-8").splitlines()
    pair = json.loads(line)
    assert (pair["row"], pair["other_row"], pair["text"]) == ("41", "4", "text number 3 of b")
    assert pair["similarity"] > 0.999
    assert "Near-duplicates in table" in jdq.run("report", job, "-o", "-").stdout


def test_what_is_compared_is_checked_before_there_is_a_job(jdq: CommandLine) -> None:
    jdq.extracted(REPEATED)
    jdq.extracted(name="other.csv")
    job = jdq.submit("find-duplicates", "table", "--against", "other", "--least", "0.9")
    spec = jdq.json("status", job)["spec"]
    assert (spec["against"], spec["least"], spec["across_split"]) == ("other", 0.9, False)
    assert jdq.workplace.worked(job).state == "succeeded"
    assert "near-duplicates of other" in jdq.run("result", job).stdout
    across = jdq.submit("find-duplicates", "table", "--across-split")
    assert jdq.workplace.worked(across).state == "succeeded"
    assert "near-duplicates of the other parts" in jdq.run("result", across).stdout
    before = len(jdq.json("jobs"))
    refused = ("submit", "find-duplicates", "table")
    assert "either --against or" in jdq.run(*refused, "--against", "other", "--across-split", code=2).stderr
    assert "no dataset" in jdq.run(*refused, "--against", "nothing", code=4).stderr
    assert "no column" in jdq.run(*refused, "--across-split", "--label-column", "x", code=2).stderr
    assert len(jdq.json("jobs")) == before


def test_datasets_are_compared_in_the_last_feature_space_that_both_have(jdq: CommandLine) -> None:
    jdq.extracted()
    common = jdq.json("result", jdq.extracted(name="other.csv"))["space"]
    later = jdq.submit("extract", jdq.file(TABLE, "table.csv"), "--encoder", "hash:8")
    assert jdq.workplace.worked(later).state == "succeeded"
    job = jdq.submit("find-duplicates", "table", "--against", "other")
    assert jdq.json("status", job)["spec"]["space"] == common
    other = jdq.json("status", job)["spec"]["against_version"]
    newer = jdq.submit("extract", jdq.file(TABLE + "one,a\n", "other.csv"), "--encoder", "hash:64")
    assert jdq.workplace.worked(newer).state == "succeeded"
    found = jdq.run("submit", "find-duplicates", "table", "--against", "other")
    assert f"the newest version of other lacks features; using {other}" in found.stderr
    assert jdq.json("status", found.stdout.strip())["spec"]["against_version"] == other
    apart = jdq.submit("extract", jdq.file(TABLE + "one more,a\n", "apart.csv"), "--encoder", "hash:32")
    assert jdq.workplace.worked(apart).state == "succeeded"
    refused = jdq.run("submit", "find-duplicates", "apart", "--against", "other", code=2).stderr
    assert "apart and other have no features in the same feature space" in refused
    assert "try: jdq submit extract FILE --name other --encoder hash:32" in refused


def test_the_most_similar_rows_are_printed(jdq: CommandLine) -> None:
    assert "no dataset has been extracted yet" in jdq.run("similar", "a text", code=2).stderr
    jdq.extracted(name="older.csv")
    jdq.extracted(REPEATED)
    assert jdq.run("similar", "a text", "-k", "1").stderr.startswith("dataset table ")
    found = jdq.run("similar", "text number 3 of b", "--dataset", "table", "-k", "3").stdout.splitlines()
    assert found[0].split() == ["similarity", "row", "label", "text"]
    assert [line.split()[:3] for line in found[1:3]] == [["1.000", "4", "b"], ["1.000", "41", "b"]]
    rows = jdq.json("similar", "text number 3 of b", "--dataset", "table", "-k", "2")
    assert [row["row"] for row in rows] == [4, 41]
    assert "the text is empty" in jdq.run("similar", " ", "--dataset", "table", code=2).stderr
    assert "no dataset" in jdq.run("similar", "x", "--dataset", "none", code=4).stderr


def test_an_extraction_that_has_not_computed_its_features_is_not_the_last_one(jdq: CommandLine) -> None:
    jdq.extracted()
    for name, encoder in (("table.csv", "hash:8"), ("new.csv", "hash:4")):
        planned = jdq.submit("extract", jdq.file(TABLE, name), "--encoder", encoder)
        jdq.workplace.work_on(planned, "cpu")
    for choice in ((), ("--dataset", "table")):
        assert jdq.json("similar", "text number 3 of b", *choice)[0]["row"] == 4
    assert jdq.run_to_any_end("similar", "a text", "--dataset", "new").exit_code == 2
