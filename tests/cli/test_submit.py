"""What all kinds of jobs share: the printed id, dependencies, settings, and workers of other versions."""

from importlib.metadata import version

from jdq.worker.queue.contract import PROTOCOL, Queue
from tests.cli.conftest import CommandLine


def test_the_jobs_id_is_the_whole_output_and_messages_go_to_stderr(jdq: CommandLine) -> None:
    found = jdq.run("submit", "extract", jdq.file(), "--encoder", "hash:16")
    [job] = found.stdout.splitlines()
    assert job.startswith("extract-")
    assert "dataset table" in found.stderr
    assert "no worker serves the gpu queue" in found.stderr
    assert jdq.json("status", job)["state"] == "queued"


def test_a_job_waits_for_those_that_are_named(jdq: CommandLine) -> None:
    first = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    found = jdq.run("submit", "extract", jdq.file(name="b.csv"), "--encoder", "hash:16", "--after", first)
    second = found.stdout.strip()
    assert f"after {first}" in found.stderr
    assert jdq.json("status", second)["waits_for"] == [first]
    assert f"waits for {first}" in jdq.run("status", second).stdout
    jdq.workplace.worked(first)
    assert jdq.json("status", second)["waits_for"] == []


def test_a_job_cannot_wait_for_one_that_is_unknown_or_has_not_succeeded(jdq: CommandLine) -> None:
    asked = ("submit", "extract", jdq.file(), "--encoder", "hash:16", "--after")
    assert "no job has the id 'extract-none'" in jdq.run(*asked, "extract-none", code=4).stderr
    cancelled = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    jdq.run("cancel", cancelled)
    assert f"try: jdq status {cancelled}" in jdq.run(*asked, cancelled, code=2).stderr


def test_settings_come_from_the_environment_then_the_file_then_the_defaults(jdq: CommandLine) -> None:
    home = jdq.workplace.folder / "home"
    home.mkdir()
    (home / "config.toml").write_text('encoder = "hash:4"\nprecision = "float32"\n')
    job = jdq.submit("extract", jdq.file())
    spec = jdq.json("status", job)["spec"]
    assert (spec["encoder"], spec["precision"]) == ("hash:4", "float32")
    configured = CommandLine(jdq.workplace, {"JDQ_ENCODER": "hash:32"})
    assert configured.json("status", configured.submit("extract", jdq.file()))["spec"]["encoder"] == "hash:32"
    overridden = configured.submit("extract", jdq.file(), "--encoder", "hash:2", "--max-length", "12")
    spec = configured.json("status", overridden)["spec"]
    assert (spec["encoder"], spec["max_length"]) == ("hash:2", 12)


def heartbeat(jdq: CommandLine, name: str, queue: Queue, **says: object) -> None:
    """A worker that lives, and what it says about itself."""
    described = {"queue": queue, "version": version("jdq"), "protocol": PROTOCOL} | says
    jdq.workplace.runtime(queue, name).ledger.heartbeat(described)


def test_workers_of_another_package_version_are_one_warning(jdq: CommandLine) -> None:
    heartbeat(jdq, "a", "gpu", version="0.0.1")
    heartbeat(jdq, "b", "cpu", version="0.0.1")
    heartbeat(jdq, "c", "cpu")
    found = jdq.run("submit", "extract", jdq.file(), "--encoder", "hash:16")
    warnings = [line for line in found.stderr.splitlines() if line.startswith("warning:")]
    assert warnings == [f"warning: workers run jdq 0.0.1, this is {version('jdq')}; see jdq workers"]
    assert "0.0.1" in jdq.run("workers").stdout


def test_nothing_is_submitted_while_a_worker_with_another_protocol_lives(jdq: CommandLine) -> None:
    heartbeat(jdq, "a", "gpu")
    heartbeat(jdq, "new", "cpu", version="9.1", protocol=9)
    found = jdq.run("submit", "extract", jdq.file(), "--encoder", "hash:16", code=2)
    assert "worker new-cpu cannot take jobs from this jdq: it is 9.1 with protocol 9" in found.stderr
    assert "try: pip install jdq==9.1 here" in found.stderr
    assert jdq.json("jobs") == []
    assert f"new-cpu has protocol 9, this jdq {PROTOCOL}" in jdq.run("workers").stdout
    jdq.workplace.client.zadd("jdq:workers:seen", {"new-cpu": 0})  # it has died
    jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
