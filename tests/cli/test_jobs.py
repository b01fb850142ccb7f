"""Commands about jobs: what they print of queued, running and ended jobs, and their exit codes."""

import re
import time

import pytest

from jdq.worker.config import login_name
from tests.cli.conftest import TABLE, CommandLine


def test_jobs_are_listed_newest_first_and_can_be_narrowed(jdq: CommandLine) -> None:
    first = jdq.extracted()
    second = jdq.submit("extract", jdq.file(name="b.csv"), "--encoder", "hash:16")
    assert [job["job"] for job in jdq.json("jobs")] == [second, first]
    assert [job["job"] for job in jdq.json("jobs", "--limit", "1")] == [second]
    assert [job["job"] for job in jdq.json("jobs", "--state", "succeeded")] == [first]
    lines = jdq.run("jobs").stdout.splitlines()
    assert lines[0].split() == ["job", "state", "dataset", "done", "time", "submitted"]
    assert "40/40" in lines[2]


@pytest.mark.parametrize(("since", "n_jobs"), [("1h", 1), ("90m", 1), ("7d", 1), ("2000-01-31", 1), ("2999-01-31", 0)])
def test_jobs_since_a_date_or_of_an_age(jdq: CommandLine, since: str, n_jobs: int) -> None:
    jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    assert len(jdq.json("jobs", "--since", since)) == n_jobs


def test_a_time_that_is_none_is_refused(jdq: CommandLine) -> None:
    assert "'soon' is neither a date nor an age" in jdq.run("jobs", "--since", "soon", code=2).stderr


def test_the_status_says_how_far_a_job_is_and_who_worked_on_it(jdq: CommandLine) -> None:
    job = jdq.extracted()
    status = jdq.json("status", job)
    assert {name: status[name] for name in ("state", "texts_done", "texts_total", "computed", "reused")} == {
        "state": "succeeded",
        "texts_done": 40,
        "texts_total": 40,
        "computed": 40,
        "reused": 0,
    }
    assert status["created"] <= status["started"] <= status["ended"] <= time.time()
    assert status["wall_s"] == pytest.approx(status["ended"] - status["started"], abs=0.01)
    assert status["eta_s"] is None
    text = jdq.run("status", job).stdout
    assert "40/40 texts, 40 computed, 0 reused" in text
    assert "chunks done, 0 running" in text


def test_an_unknown_job_has_an_exit_code_of_its_own(jdq: CommandLine) -> None:
    for command in ("status", "watch", "result", "cancel", "retry", "logs"):
        assert "try: jdq jobs" in jdq.run(command, "extract-none", code=4).stderr


def test_a_job_has_a_result_only_once_it_has_succeeded(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    assert f"try: jdq watch {job}" in jdq.run("result", job, code=2).stderr
    jdq.run("cancel", job)
    found = jdq.run("result", job, code=1)
    assert f"job {job} cancelled" in found.stderr
    assert found.stdout == ""


def test_a_cancelled_job_is_cancelled_once_and_can_be_retried(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    found = jdq.run("cancel", job)
    assert (found.stdout, found.stderr) == ("", f"{job} cancelled\n")
    assert "has already ended" in jdq.run("cancel", job, code=2).stderr
    assert jdq.run("retry", job).stdout == f"{job}\n"
    assert jdq.workplace.worked(job).state == "succeeded"
    jdq.run("retry", job, code=2)


def test_jobs_are_narrowed_by_owner_and_kind(jdq: CommandLine) -> None:
    first = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    assert jdq.json("status", first)["owner"] == login_name()
    jdq.settings["JDQ_USER"] = "bob"
    second = jdq.submit("train-head")
    for options, listed in [
        (("--mine",), [second]),
        (("--owner", login_name()), [first]),
        (("--kind", "extract"), [first]),
        (("--mine", "--kind", "extract"), []),
    ]:
        assert [job["job"] for job in jdq.json("jobs", *options)] == listed
    assert jdq.run("jobs").stdout.split()[1] == "owner"
    assert f"{second}  bob " in jdq.run("jobs").stdout
    assert jdq.run("jobs", "--mine").stdout.split()[1] == "state"
    assert re.search(r"submitted .* by bob$", jdq.run("status", second).stdout, re.MULTILINE)
    assert "cannot be combined" in jdq.run("jobs", "--mine", "--owner", "bob", code=2).stderr


def test_another_owners_job_is_cancelled_only_with_force_which_its_log_shows(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    jdq.settings["JDQ_USER"] = "bob"
    refused = jdq.run("cancel", job, code=2).stderr
    assert f"job {job} is owned by {login_name()}, and you are bob" in refused
    assert f"try: jdq cancel {job} --force" in refused
    assert jdq.json("status", job)["state"] == "queued"
    jdq.run("cancel", job, "--force")
    assert jdq.json("status", job)["state"] == "cancelled"
    assert ": cancelled by bob\n" in jdq.run("status", job).stdout


def test_a_job_without_an_owner_is_cancelled_by_anybody(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    jdq.workplace.client.hdel(f"jdq:job:{job}", "owner")
    jdq.run("cancel", job)
    assert " by " not in jdq.run("status", job).stdout.splitlines()[1]


def test_ended_jobs_are_removed_from_the_history_and_their_features_are_kept(jdq: CommandLine) -> None:
    done, queued = jdq.extracted(), jdq.submit("extract", jdq.file(name="b.csv"), "--encoder", "hash:16")
    assert f"job {queued} has not ended" in jdq.run("jobs", "rm", done, queued, code=2).stderr
    assert len(jdq.json("jobs")) == 2
    assert jdq.run("jobs", "rm", done).stderr == f"job {done} removed\n"
    assert [job["job"] for job in jdq.json("jobs")] == [queued]
    jdq.run("status", done, code=4)
    assert "40" in jdq.run("store", "ls").stdout


def test_another_owners_jobs_are_removed_only_with_force_or_all(jdq: CommandLine) -> None:
    first, second = jdq.extracted(), jdq.submit("extract", jdq.file(name="b.csv"), "--encoder", "hash:16")
    jdq.run("cancel", second)
    jdq.settings["JDQ_USER"] = "bob"
    refused = jdq.run("jobs", "rm", first, code=2).stderr
    assert f"try: jdq jobs rm {first} --force" in refused
    assert jdq.run("jobs", "prune", "--older-than", "0m").stderr == "0 jobs removed\n"
    jdq.run("jobs", "rm", first, "--force")
    assert jdq.run("jobs", "prune", "--older-than", "1h", "--all").stderr == "0 jobs removed\n"
    assert jdq.run("jobs", "prune", "--older-than", "0m", "--all").stderr == "1 job removed\n"
    assert jdq.json("jobs") == []


def test_only_those_who_have_the_right_submit_urgent_jobs(jdq: CommandLine) -> None:
    submit = ("submit", "extract", jdq.file(), "--encoder", "hash:16", "--priority")
    jdq.settings.update(JDQ_USER="bob", JDQ_HIGH_PRIORITY="alice, carl")
    refused = jdq.run(*submit, "high", code=2).stderr
    assert "--priority high is reserved for alice, carl (JDQ_HIGH_PRIORITY), and you are bob" in refused
    assert jdq.json("jobs") == []
    assert jdq.workplace.runtime("cpu").store.datasets.names() == []
    jdq.run(*submit, "normal")
    jdq.settings["JDQ_USER"] = "carl"
    jdq.run(*submit, "high")
    jdq.settings.update(JDQ_USER="bob", JDQ_HIGH_PRIORITY="*")
    jdq.run(*submit, "high")


def test_jobs_are_pruned_only_by_a_time(jdq: CommandLine) -> None:
    assert "Missing option '--older-than'" in jdq.run("jobs", "prune", code=2).stderr
    assert "'soon' is neither" in jdq.run("jobs", "prune", "--older-than", "soon", code=2).stderr


def test_a_job_that_a_worker_has_not_left_is_not_removed(jdq: CommandLine) -> None:
    job = jdq.extracted()
    jdq.workplace.client.hset("jdq:workers:busy", "w", job)
    assert f"a worker has not yet left job {job}" in jdq.run("jobs", "rm", job, code=2).stderr
    assert jdq.json("status", job)["state"] == "succeeded"


def test_a_job_is_not_retried_before_the_one_that_it_waits_for(jdq: CommandLine) -> None:
    first = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    second = jdq.submit("train-head")
    jdq.run("cancel", first)
    assert jdq.json("status", second)["state"] in ("failed", "cancelled")
    assert f"try: jdq retry {first}" in jdq.run("retry", second, code=2).stderr


def test_failed_jobs_are_listed_with_the_reason(jdq: CommandLine) -> None:
    jdq.extracted()
    job = jdq.submit("extract", jdq.file(), "--encoder", "/no/such/folder")
    assert jdq.workplace.worked(job).state == "failed"
    listed = jdq.run("failed").stdout
    assert job in listed
    assert "/no/such/folder" in listed
    assert [failed["job"] for failed in jdq.json("failed")] == [job]
    assert "/no/such/folder" in jdq.json("status", job)["error"]["message"]
    assert "/no/such/folder" in jdq.run("status", job).stdout
    assert "/no/such/folder" in jdq.run("result", job, code=1).stderr
    assert "/no/such/folder" in jdq.run("watch", job, code=1).stderr


def test_watching_without_a_terminal_prints_a_line_for_each_change(jdq: CommandLine) -> None:
    job = jdq.extracted()
    found = jdq.run("watch", job)
    assert found.stdout == ""
    [line] = found.stderr.splitlines()
    assert line.startswith(f"{job}  succeeded, 40/40 texts")
    assert jdq.json("watch", job)["state"] == "succeeded"


def test_only_a_prediction_has_a_table(jdq: CommandLine) -> None:
    job = jdq.extracted()
    target = jdq.workplace.folder / "out.csv"
    assert "only these kinds have one: predict" in jdq.run("result", job, "--to", str(target), code=2).stderr
    assert not target.exists()


def test_log_lines_are_printed_in_order_and_none_where_there_are_none(jdq: CommandLine) -> None:
    from jdq.worker.queue.archive import lines_key

    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    assert jdq.run("logs", job).stdout == ""
    client = jdq.workplace.runtime("cpu").ledger.client
    for line in ("first", "second"):
        client.xadd(lines_key(job), {"line": line})
    assert jdq.run("logs", job).stdout == "first\nsecond\n"
    jdq.run("cancel", job)
    assert jdq.run("logs", job, "--follow").stdout.splitlines()[:2] == ["first", "second"]


def test_the_screen_shows_running_jobs_before_ended_ones(jdq: CommandLine) -> None:
    ended = jdq.extracted()
    waiting = jdq.submit("extract", jdq.file(name="b.csv"), "--encoder", "hash:16")
    shown = CommandLine(jdq.workplace, {"COLUMNS": "200"}).run("top", "--once").stdout
    assert shown.index(waiting) < shown.index(ended)
    assert "40/40 texts" in shown


def test_a_head_is_printed_with_its_classes_and_listed(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained("--cv", "2")
    text = jdq.run("result", head).stdout
    assert f"head {head} (auto) on table" in text
    assert re.search(r"^tf-idf: the lowest log loss in 5-fold cross-validation over \d+ rows", text, re.MULTILINE)
    assert "2-fold cross-validation: macro-F1" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["class", "precision", "recall", "F1", "rows"] in rows
    assert {"a", "b"} <= {row[0] for row in rows if row}
    assert jdq.run("heads", "ls").stdout.splitlines()[1].startswith(head)
    assert "the store has no heads of other" in jdq.run("heads", "ls", "--dataset", "other").stderr
    assert "the store has no models" in jdq.run("models", "ls").stderr


def test_no_head_is_removed_where_one_of_the_ids_is_unknown(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    jdq.run("heads", "rm", head, "train-head-none", code=4)
    assert [each["id"] for each in jdq.json("heads", "ls")] == [head]
    assert f"head {head} removed" in jdq.run("heads", "rm", head).stderr
    assert jdq.json("heads", "ls") == []


def test_a_table_that_was_changed_or_cleaned_away_is_said(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    job = jdq.submit("predict", jdq.file(TABLE, "new.csv"), "--head", head)
    jdq.workplace.worked(job)
    (table,) = jdq.workplace.store.root.rglob("predictions.csv")
    table.write_text(table.read_text().replace("text", "next", 1))
    changed = jdq.run_to_any_end("result", job, "--to", str(jdq.workplace.folder / "changed.csv"))
    assert changed.exit_code and "predictions.csv: it has changed since it was written" in changed.stderr
    table.unlink()
    target = jdq.workplace.folder / "out.csv"
    assert "it was removed" in jdq.run("result", job, "--to", str(target), code=2).stderr
    assert not target.exists()
