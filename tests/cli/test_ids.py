"""Ids on the command line: shortened to what is unique, `@last`, suggestions, and TAB completion."""

import pytest
from click.shell_completion import ShellComplete

from jdq.cli.client import BadRequest
from jdq.cli.ids import whole_id
from jdq.cli.main import cli
from tests.cli.conftest import CommandLine

KNOWN = ["extract-k3v9x2pq", "extract-k7aaaaaa", "train-head-k3zzzzzz"]


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("extract-k3v9x2pq", "extract-k3v9x2pq"),
        ("extract-k3", "extract-k3v9x2pq"),
        ("k3v", "extract-k3v9x2pq"),
        ("train", "train-head-k3zzzzzz"),
        ("@last", "extract-k3v9x2pq"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_enough_of_an_id_is_the_id(value: str, meant: str) -> None:
    assert whole_id(value, KNOWN, "job") == meant


def test_what_several_ids_begin_with_is_refused_with_their_names() -> None:
    with pytest.raises(BadRequest, match=r"'k3' is the beginning of 2 jobs: extract-k3v9x2pq, train-head-k3zzzzzz$"):
        whole_id("k3", KNOWN, "job")
    with pytest.raises(BadRequest, match=r"of 9 jobs: .* and 4 more"):
        whole_id("a", [f"a-{n}" for n in range(9)], "job")
    with pytest.raises(BadRequest, match="no job yet"):
        whole_id("@last", [], "job")


def test_an_id_that_is_the_beginning_of_another_is_itself() -> None:
    assert whole_id("posts", ["posts-2", "posts"], "dataset") == "posts"


def test_shortened_ids_work_in_every_command(jdq: CommandLine) -> None:
    job = jdq.extracted()
    short = job.rpartition("-")[2][:6]
    for words in (("status", short), ("result", "@last"), ("watch", short)):
        assert jdq.json(*words)["job"] == job
    jdq.run("logs", short)
    head = jdq.trained()
    assert jdq.json("heads", "show", "@last")["head_id"] == head
    prediction = jdq.submit("predict", jdq.file(name="new.csv"), "--head", "@last", "--after", short)
    assert jdq.json("status", prediction)["spec"]["head"] == head
    jdq.run("cancel", "@last")
    assert jdq.json("status", prediction)["state"] == "cancelled"
    jdq.run("heads", "rm", head.rpartition("-")[2])
    assert jdq.json("heads", "ls") == []


def test_a_head_that_a_job_is_making_can_be_shortened(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.submit("train-head")
    prediction = jdq.submit("predict", jdq.file(name="new.csv"), "--head", head.rpartition("-")[2])
    assert jdq.json("status", prediction)["waits_for"] == [head]


def test_a_wrong_letter_gets_a_suggestion(jdq: CommandLine) -> None:
    job = jdq.extracted()
    wrong = job[:-1] + ("a" if job[-1] != "a" else "b")
    assert f"did you mean {job}?" in jdq.run("status", wrong, code=4).stderr
    assert "did you mean table?" in jdq.run("compare", "tabel", code=4).stderr
    head = jdq.trained()
    assert f"did you mean {head}?" in jdq.run("heads", "show", head[:-1] + "0", code=4).stderr


def completed(jdq: CommandLine, words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What TAB offers after these words, of which the last one is not complete."""
    for name, value in jdq.workplace.environment.items():
        monkeypatch.setenv(name, value)
    *before, last = words.split(" ")
    completion = ShellComplete(cli, {}, "jdq", "COMPLETE")
    return [item.value for item in completion.get_completions(before, last)]


def test_tab_completes_ids_datasets_and_kinds_of_heads(jdq: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jdq.extracted()
    head = jdq.trained()
    assert completed(jdq, "status ", monkeypatch) == [head, job]
    assert completed(jdq, "status ex", monkeypatch) == [job]
    assert completed(jdq, "compare t", monkeypatch) == ["table"]
    assert completed(jdq, "submit train-head ", monkeypatch) == ["table"]
    assert completed(jdq, "submit train-head --head lo", monkeypatch) == ["logreg"]
    assert completed(jdq, "submit predict t", monkeypatch) == ["table", "t"]
    assert completed(jdq, "predict --head ", monkeypatch) == [head]
    assert completed(jdq, "heads show ", monkeypatch) == [head]


def test_tab_completes_what_the_store_and_the_queue_have(jdq: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(jdq, "store show ", monkeypatch) == []
    jdq.extracted()
    [version], [space] = jdq.workplace.store.datasets.list(), jdq.workplace.store.spaces()
    assert completed(jdq, "store show ", monkeypatch) == ["table", space.digest]
    for command in ("store rm", "store export"):
        assert completed(jdq, f"{command} ", monkeypatch) == ["table"]
        assert completed(jdq, f"{command} table --version ", monkeypatch) == [version.version]
    assert completed(jdq, "store compact ", monkeypatch) == [space.digest]
    assert completed(jdq, f"store export --space {space.digest[:3]}", monkeypatch) == [space.digest]
    assert completed(jdq, f"submit train-head --space {space.digest[:3]}", monkeypatch) == [space.digest]
    assert completed(jdq, "compare --version ", monkeypatch) == [version.version]
    jdq.workplace.runtime("gpu").ledger.heartbeat(
        {"pid": 1, "host": "host", "queue": "gpu", "device": "cpu", "started": 0}
    )
    assert completed(jdq, "workers drain ", monkeypatch) == ["worker-gpu"]


def test_tab_offers_nothing_where_redis_does_not_answer(jdq: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = {**jdq.workplace.environment, "JDQ_BROKER_URL": "redis://localhost:1/0"}
    jdq.workplace.environment.update(offline)
    assert completed(jdq, "status ", monkeypatch) == []
