"""Notices of ended jobs: to every URL of the job, again where one is refused, and without its secrets in the log."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from jdq.worker.process import notices
from jdq.worker.process.notices import KEY, send_notices
from jdq.worker.queue.ledger import Outcome
from tests.queue.ledgers import OwnQueue, taken

apprise = pytest.importorskip("apprise", reason="needs jdq[notify]")


class Receiver:
    """A web server that keeps what apprise posts; it refuses the first `refuses` of them."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.refuses = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.refuses -= 1
                self.send_response(500 if receiver.refuses >= 0 else 200)
                self.end_headers()
                if receiver.refuses < 0:
                    receiver.got.append(json.loads(body))

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:secret@127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    threading.Thread(target=found.server.serve_forever, daemon=True).start()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_who_submitted_the_job_learns_how_it_ended(queue: OwnQueue, receiver: Receiver) -> None:
    ledger, job = queue.ledger("w"), queue.job(owner="alice", notify=[receiver.url, receiver.url])
    other = queue.job()
    send_notices(queue.client, queue.jobbook)
    assert receiver.got == []
    for each in (job, other):
        ledger.commit(taken(ledger, each), Outcome(result={}))
    send_notices(queue.client, queue.jobbook)
    assert [(got["title"], got["type"]) for got in receiver.got] == [(f"{job} succeeded", "success")] * 2
    assert receiver.got[0]["message"] == f"train-head of dataset d, by alice\njdq status {job}"
    send_notices(queue.client, queue.jobbook)
    assert len(receiver.got) == 2


def test_a_failure_says_why_and_how_long_it_took(queue: OwnQueue, receiver: Receiver) -> None:
    job = queue.job(notify=[receiver.url])
    lease = taken(queue.ledger("w"), job)
    queue.client.hincrby(f"jdq:job:{job}", "started", -190_000)
    queue.ledger("w").fail(lease, {"type": "E", "message": "no column"})
    send_notices(queue.client, queue.jobbook)
    [got] = receiver.got
    assert (got["title"], got["type"]) == (f"{job} failed", "failure")
    assert got["message"] == f"train-head of dataset d, by -, 3 min\nno column\njdq status {job}"


@pytest.mark.parametrize(("refuses", "taken_at_last", "attempts"), [(1, 1, 1), (2, 1, 2), (3, 0, 3)])
def test_a_notice_that_is_refused_is_sent_again_twice(
    queue: OwnQueue,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    refuses: int,
    taken_at_last: int,
    attempts: int,
) -> None:
    job = queue.job(notify=[receiver.url])
    receiver.refuses = refuses
    queue.jobbook.cancel(job)
    with caplog.at_level(logging.WARNING, "jdq"):
        for _ in range(5):
            send_notices(queue.client, queue.jobbook)
    assert len(receiver.got) == taken_at_last
    ours = [record.getMessage() for record in caplog.records if record.name == notices.__name__]
    assert ours == [f"attempt {n} to send the notice of job {job} failed: json" for n in range(1, attempts + 1)]


def test_a_job_that_was_retried_or_removed_meanwhile_has_not_ended(queue: OwnQueue, receiver: Receiver) -> None:
    retried, removed = (queue.job(notify=[receiver.url]) for _ in range(2))
    for job in (retried, removed):
        queue.jobbook.cancel(job)
    queue.jobbook.retry(retried)
    queue.jobbook.forget([removed])
    send_notices(queue.client, queue.jobbook)
    assert (receiver.got, queue.client.llen(KEY)) == ([], 0)


def test_a_worker_without_apprise_leaves_the_notices_to_others(
    queue: OwnQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "find_spec", lambda name: None)
    queue.jobbook.cancel(queue.job(notify=["json://localhost"]))
    with caplog.at_level(logging.WARNING, "jdq"):
        send_notices(queue.client, queue.jobbook)
    assert queue.client.llen(KEY) == 1
    assert "try: pip install 'jdq[notify]'" in caplog.text
