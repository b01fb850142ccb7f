"""What Celery must do with our settings: with others it loses tickets, runs work twice, or takes more than one."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from jdq.worker.config import read_config
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.transport import Transport
from tests.conftest import PROJECT
from tests.redis_server import RedisServer
from tests.waiting import until

URL = "redis+socket:///nonexistent/r.sock"


def app_on(url: str) -> Celery:
    return celery_app(read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": url}))


def test_it_talks_to_the_configured_server_by_our_transport() -> None:
    assert app_on(URL).main == "jdq"
    with app_on(URL).connection() as connection:
        assert connection.as_uri() == URL
    for url in ("redis://h/0", "rediss://h/0"):
        with app_on(url).connection() as connection:
            assert connection.get_transport_cls() is Transport


def test_a_connection_may_wait_for_a_ticket_but_not_for_a_server_that_is_silent() -> None:
    with app_on(URL).connection() as connection:
        options = connection.transport_options
        assert connection.transport.brpop_timeout < options["socket_timeout"] <= 20
        assert options["socket_connect_timeout"] <= 5
        assert options["health_check_interval"] <= 30
        assert options["socket_keepalive"]


@dataclass(frozen=True)
class Holding:
    """A Celery worker whose tickets run until the test ends them, on a server of its own."""

    home: Path
    server: RedisServer
    process: psutil.Process

    @property
    def client(self) -> redis.Redis:
        return self.server.client()

    def send(self, *names: str, priority: int = 5, **options: str) -> None:
        with app_on(self.server.url) as app:
            for name in names:
                app.send_task("hold", [name], queue="cpu", priority=priority, **options)

    def queued(self) -> int:
        """Tickets that no worker has taken."""
        return sum(int(self.client.llen(key)) for key in self.client.keys("cpu*"))

    def running(self) -> list[str]:
        """All that have begun, in that order."""
        file = self.home / "running"
        return file.read_text().split() if file.exists() else []

    def until_running(self, name: str, within_s: float = 30) -> None:
        until(lambda: name in self.running(), within_s=within_s, why=f"{name} runs")

    def end(self, *names: str) -> None:
        """Ends these tickets, one after another."""
        for name in names:
            (self.home / f"end-{name}").touch()
            until((self.home / f"ended-{name}").exists, within_s=30, why=f"{name} ends")

    def said(self, text: str) -> bool:
        return text in (self.home / "log").read_text()


@pytest.fixture(scope="module")
def holding() -> Iterator[Holding]:
    """The worker was started before its server, and has waited for it."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        home, server = Path(folder), RedisServer(Path(folder) / "redis")
        environment = os.environ | {"JDQ_HOME": str(home), "JDQ_BROKER_URL": server.url}
        command = [sys.executable, "-m", "celery", "-A", "tests.queue.holding_app", "worker", "-n", "w@%h"]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
        holding = Holding(home, server, psutil.Process(process.pid))
        until(lambda: holding.said("Cannot connect"), why="the worker misses its server")
        server.start()
        holding.send("first")
        holding.until_running("first")
        holding.end("first")
        yield holding
        process.kill()
        process.wait()
        server.kill()


def test_a_ticket_that_runs_is_acknowledged_and_the_others_stay_in_the_queue(holding: Holding) -> None:
    """The ledger recovers work, so Celery must not repeat a ticket; other workers may take those that wait."""
    holding.send("one")
    holding.until_running("one")
    holding.send("two", "three")
    time.sleep(0.5)  # in which a worker that prefetches would take one
    assert (holding.queued(), holding.client.hlen("unacked")) == (2, 0)
    holding.end("one", "two", "three")
    assert holding.queued() == 0


def test_one_process_computes_and_it_was_spawned(holding: Holding) -> None:
    """Neither CUDA nor OpenMP survives a fork."""
    children = [" ".join(child.cmdline()) for child in holding.process.children(recursive=True)]
    [computing] = [child for child in children if "tracker" not in child]
    assert "spawn_main" in computing or "SpawnPoolWorker" in computing


def test_an_urgent_ticket_goes_first(holding: Holding) -> None:
    holding.send("now")
    holding.until_running("now")
    holding.send("low", priority=9)
    holding.send("normal")
    holding.send("high", priority=0)
    holding.end("now", "high", "normal", "low")
    assert holding.running()[-3:] == ["high", "normal", "low"]


def test_a_ticket_that_runs_goes_on_while_the_server_restarts(holding: Holding) -> None:
    holding.send("long")
    holding.until_running("long")
    holding.server.kill()
    until(lambda: holding.said("Connection to broker lost"), within_s=30, why="the worker notices it")
    holding.server.start()
    holding.send("after")
    holding.end("long")
    holding.until_running("after")
    holding.end("after")
    assert holding.running().count("long") == 1


def test_a_message_that_is_not_json_is_refused(holding: Holding) -> None:
    holding.send("pickled", serializer="pickle")
    holding.send("json")
    holding.until_running("json")
    holding.end("json")
    assert "pickled" not in holding.running()
    assert holding.said("Refusing to deserialize")


def test_a_ticket_of_a_worker_that_died_before_it_ran_comes_back_after_a_minute(holding: Holding) -> None:
    holding.send("busy")
    holding.until_running("busy")
    holding.send("lost", "taken")
    for age_s in (61, 50):  # as a worker leaves them that has taken them so long ago
        [key] = holding.client.keys("cpu*")
        message = json.loads(str(holding.client.rpop(key)))
        tag = message["properties"]["delivery_tag"]
        holding.client.hset("unacked", tag, json.dumps([message, "", "cpu"]))
        holding.client.zadd("unacked_index", {tag: time.time() - age_s})
    holding.end("busy")
    holding.until_running("lost", within_s=9)
    assert "taken" not in holding.running()
    assert holding.client.zcard("unacked_index") == 1
    holding.client.delete("unacked", "unacked_index")
    holding.end("lost")


def test_nothing_but_the_queue_is_left_in_redis(holding: Holding) -> None:
    """No results and no events: nobody reads them."""
    left = {str(key) for key in holding.client.keys("*")}
    assert not [key for key in left if "meta" in key or "event" in key], left
