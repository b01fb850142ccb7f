"""What a worker process keeps: it waits for a server that is away unless it is about to end, and opens things once."""

import gc
import logging
import threading
import time
import weakref
from pathlib import Path

import pytest
import redis

from jdq.store.table import TableOptions
from jdq.worker.config import read_config
from jdq.worker.process.runtime import PATIENCE_S, Runtime, runtime
from jdq.worker.queue.scripts import TicketOrder
from tests.queue.test_tickets import job_names
from tests.redis_server import RedisServer
from tests.store.fake_features import fake_space

ORDER = TicketOrder(job="a", queue="cpu", count=1, priority=5)


def runtime_at(url: str, home: Path = Path("/nonexistent")) -> Runtime:
    return Runtime(read_config({"JDQ_HOME": str(home), "JDQ_BROKER_URL": url}), worker="w", queue="cpu")


def test_a_worker_waits_two_minutes_for_the_ledger_and_one_that_ends_does_not() -> None:
    away = runtime_at("redis+socket:///nonexistent/r.sock")
    ledger = away.ledger
    assert ledger.client.get_retry().get_retries() == PATIENCE_S / 2  # type: ignore[union-attr]
    threading.Timer(0.5, away.end).start()
    began = time.monotonic()
    with pytest.raises(redis.ConnectionError, match="this process ends"):
        ledger.is_busy()
    assert 0.4 < time.monotonic() - began < 10


def test_the_ledger_is_that_of_the_worker_and_its_queue(server: RedisServer, client: redis.Redis) -> None:
    mine = runtime_at(server.url)
    assert (mine.ledger.worker, mine.ledger.queue) == ("w", "cpu")
    assert (mine.ledger._lease_ms, mine.ledger._reclaim_ms) == (60_000, 5_000)
    mine.ledger.heartbeat({})
    assert [worker.name for worker in mine.jobbook.workers()] == ["w"]


def test_a_connection_is_closed_with_its_owner_and_not_by_the_collector(server: RedisServer) -> None:
    mine = runtime_at(server.url)
    mine.ledger.is_busy()
    client = weakref.ref(mine.ledger.client)
    gc.disable()
    try:
        del mine
        assert client() is None
    finally:
        gc.enable()


def test_tickets_are_sent_and_repairs_first(server: RedisServer, client: redis.Redis) -> None:
    mine = runtime_at(server.url)
    mine.send([ORDER])
    assert job_names(client, "cpu\x06\x163") == ["a"]
    mine.send([ORDER], repair=True)
    assert job_names(client, "cpu") == ["a"]


def test_tickets_that_cannot_be_sent_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "jdq"):
        runtime_at("redis+socket:///nonexistent/r.sock").send([ORDER])
    [text] = caplog.messages
    assert text.startswith("no worker was woken: Error 2 connecting to ")


def test_the_store_and_what_is_read_of_it_are_opened_once(tmp_path: Path) -> None:
    mine = runtime_at("redis://h/0", tmp_path)
    assert mine.store is mine.store
    assert mine.store.root == mine.config.store
    mine.job_files.put_json("j", "plan", {"chunks": 1})
    assert list(mine.store.root.rglob("plan.json"))
    versions = []
    for content in ("a", "b"):
        file = tmp_path / "table.csv"
        file.write_text(f"text,label\n{content},x\nother,y\n")
        versions.append(mine.store.datasets.import_table(file, name="table", options=TableOptions()).version)
    opened = [mine.version("table", version) for version in versions]
    assert [version.version for version in opened] == versions
    assert [mine.version("table", version) for version in versions] == opened
    spaces = [mine.store.space(fake_space(dim)).digest for dim in (4, 8)]
    found = [mine.space(digest) for digest in spaces]
    assert [space.digest for space in found] == spaces
    assert all(mine.space(digest) is space for digest, space in zip(spaces, found, strict=True))


def test_a_process_has_one_runtime_for_each_worker_and_queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JDQ_HOME", str(tmp_path))
    mine = runtime("w", "gpu")
    assert (mine.worker, mine.queue, mine.config.home) == ("w", "gpu", tmp_path)
    assert runtime("w", "gpu") is mine
    assert runtime("w", "cpu") is not mine
