"""Jobs that have left Redis, as commands show them, and a history that is rebuilt."""

import pytest
import redis

from jdq.worker.config import read_config
from jdq.worker.process import archiver
from jdq.worker.process.archiver import Archiver
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.archive import lines_key
from tests.cli.conftest import CommandLine


@pytest.fixture
def archived(jdq: CommandLine, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an extraction that has left Redis, with two log lines."""
    job = jdq.extracted()
    for line in ("first", "second"):
        client.xadd(lines_key(job), {"line": line})
    monkeypatch.setattr(archiver, "SETTLE_MS", -2_000)
    environment = {**jdq.workplace.environment, "JDQ_KEEP_JOBS_DAYS": "0.00000001"}
    client.zadd("jdq:ended", {job: 0})
    client.set("jdq:archives", 1)
    Archiver(Runtime(read_config(environment), worker="w", queue="cpu")).step()
    assert client.keys(f"jdq:job:{job}*") == []
    return job


def test_every_command_about_a_job_finds_it_in_the_store(jdq: CommandLine, archived: str) -> None:
    assert [job["job"] for job in jdq.json("jobs", "--mine")] == [archived]
    assert "40/40 texts, 40 computed, 0 reused" in jdq.run("status", archived).stdout
    assert jdq.json("status", "@last")["state"] == "succeeded"
    assert jdq.json("result", archived[:-2])["computed"] == 40
    assert jdq.run("logs", archived).stdout.splitlines() == ["first", "second"]
    assert "has already ended" in jdq.run("cancel", archived, code=2).stderr
    assert "is succeeded" in jdq.run("retry", archived, code=2).stderr


def test_a_history_that_was_lost_is_recovered(jdq: CommandLine, archived: str, client: redis.Redis) -> None:
    client.flushdb()
    assert jdq.json("jobs") == []
    assert jdq.json("result", archived)["computed"] == 40
    assert jdq.run("recover").stderr == "1 job recovered\n"
    assert [job["job"] for job in jdq.json("jobs")] == [archived]
    assert jdq.run("jobs", "rm", archived).stderr == f"job {archived} removed\n"
    assert jdq.run("recover").stderr == "0 jobs recovered\n"
