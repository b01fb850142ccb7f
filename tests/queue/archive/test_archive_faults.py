"""What the archive meets: jobs of earlier versions, unusable entries, broken jobs, a store that is away."""

import logging
from pathlib import Path

import pytest

from jdq.worker.config import read_config
from jdq.worker.process.archiver import Archiver
from jdq.worker.process.runtime import Runtime
from tests.queue.archive.conftest import Step, ended
from tests.queue.ledgers import OwnQueue
from tests.redis_server import RedisServer


def test_jobs_that_ended_under_an_earlier_version_are_archived(queue: OwnQueue, step: Step) -> None:
    job = ended(queue)
    queue.client.delete("jdq:ended", "jdq:unsaved", "jdq:archives")
    step()
    step(days=0)
    assert (queue.jobbook.jobs(), queue.jobbook.ids()) == ([], [job])


def test_unusable_entries_hold_up_no_other_job(queue: OwnQueue, step: Step, caplog: pytest.LogCaptureFixture) -> None:
    broken, job = ended(queue), ended(queue)
    queue.client.delete(f"jdq:job:{broken}")
    queue.client.set(f"jdq:job:{broken}", "no hash")
    with caplog.at_level(logging.WARNING, "jdq"):
        step(days=0)
    assert queue.client.zrange("jdq:archived", 0, -1) == [job]
    assert f"job {broken} is not archived: " in caplog.text
    assert "WRONGTYPE" in caplog.text
    assert queue.client.zcard("jdq:unsaved") == 0


def test_a_job_that_broke_while_it_ran_is_archived_too(queue: OwnQueue, step: Step) -> None:
    job = queue.job()
    queue.client.hset(f"jdq:job:{job}:troubles", "0", "no JSON")
    assert queue.ledger("w").next(job) is None
    step(days=0)
    assert queue.client.zrange("jdq:archived", 0, -1) == [job]
    assert queue.jobbook.job(job).error
    assert queue.jobbook.job(job).error.type == "BrokenJob"  # type: ignore[union-attr]


def test_a_store_that_is_away_is_reported_once_and_tried_again(
    queue: OwnQueue, step: Step, tmp_path: Path, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    ended(queue)
    (tmp_path / "store").write_text("no folder")
    environment = {"JDQ_HOME": str(tmp_path), "JDQ_BROKER_URL": server.url}
    look = Archiver(Runtime(read_config(environment), worker="w", queue="cpu"))
    with caplog.at_level(logging.WARNING, "jdq"):
        for _ in range(2):
            queue.client.delete("jdq:archiver")
            look._try()
    [said] = [text for text in caplog.messages if text.startswith("ended jobs are not reported or archived: ")]
    assert str(tmp_path / "store") in said
    (tmp_path / "store").unlink()
    queue.client.delete("jdq:archiver")
    look._try()
    assert queue.client.zcard("jdq:unsaved") == 0
