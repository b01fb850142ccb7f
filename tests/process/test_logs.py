"""A worker's log lines name the worker, the job and the chunk, and those of a job reach all who ask for them."""

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import celery.apps.worker
import pytest
import redis
from kombu.exceptions import OperationalError

from jdq.worker.process.logs import configure_logging, silence_other_lines, stream_job_lines, working_on
from jdq.worker.queue.archive import lines_key
from jdq.worker.queue.contract import Extract, encode_spec
from jdq.worker.queue.ledger import Lease
from tests.waiting import until

SPEC = encode_spec(Extract(dataset="d", version="v", encoder="hash:8"))
LEASE = Lease(job="extract-x", chunk=3, token="t", attempt=1, spec_json=SPEC)
LOG = logging.getLogger("jdq.test")


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("jdq")
    before = (root.handlers[:], root.level, ours.handlers[:])
    yield
    logging.captureWarnings(False)
    root.handlers[:], ours.handlers[:] = before[0], before[2]
    root.setLevel(before[1])


def streamed(client: redis.Redis, job: str = "extract-x") -> list[str]:
    entries: Any = client.xrange(lines_key(job))
    return [fields["line"] for _, fields in entries]


def test_a_line_names_the_worker_and_the_job_and_chunk_that_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("gpu@here", "text")
    with working_on(LEASE):
        LOG.info("%d texts", 5)
    LOG.warning("idle")
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert first.endswith("INFO gpu@here extract-x/3: 5 texts")
    assert second.endswith("WARNING gpu@here -: idle")
    assert captured.out == ""


def test_a_line_as_json_has_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("gpu@here", "json")
    with working_on(LEASE):
        try:
            raise ZeroDivisionError("of the device")
        except ZeroDivisionError:
            LOG.exception("안녕")
    [line] = capsys.readouterr().err.splitlines()
    assert "안녕" in line  # as it is, not as an escape
    fields = json.loads(line)
    assert "ZeroDivisionError: of the device" in fields.pop("exception")
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "ERROR",
        "worker": "gpu@here",
        "job": "extract-x",
        "chunk": 3,
        "logger": "jdq.test",
        "message": "안녕",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_of_another_handler_names_no_worker_and_no_job(form: str) -> None:
    record = logging.makeLogRecord({"msg": "from afar", "levelname": "INFO", "name": "celery"})
    configure_logging("w", form)
    [handler] = logging.getLogger().handlers
    line = handler.format(record)
    if form == "text":
        assert line.endswith("INFO - -: from afar")
    else:
        fields = json.loads(line)
        assert [fields[name] for name in ("worker", "job", "chunk")] == [None] * 3


def test_celerys_lines_about_each_ticket_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("w", "text")
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).info("received")
        logging.getLogger(name).warning("%s is odd", name)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" -: ")[2] for line in lines] == ["celery.worker.strategy is odd", "celery.app.trace is odd"]


def test_a_traceback_follows_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("w", "text")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        LOG.exception("it broke")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("ERROR w -: it broke")
    assert lines[-1] == "ZeroDivisionError"


def test_a_thread_beside_the_work_does_not_speak_for_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("w", "text")
    with working_on(LEASE):
        thread = threading.Thread(target=LOG.info, args=("beside",))
        thread.start()
        thread.join()
    assert capsys.readouterr().err.endswith("INFO w -: beside\n")


def test_debug_lines_are_printed_only_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("w", "text")
    LOG.debug("hidden")
    configure_logging("w", "text", level=logging.DEBUG)
    LOG.debug("shown")
    assert capsys.readouterr().err.endswith("DEBUG w -: shown\n")


def test_lines_of_a_job_reach_its_stream_and_others_do_not(client: redis.Redis) -> None:
    configure_logging("gpu@here", "text")
    stream_job_lines("gpu@here", client)
    LOG.info("of no job")
    with working_on(LEASE):
        LOG.info("first")
        logging.getLogger("another.package").info("not jdq's")
        LOG.info("second")
    lines = until(lambda: found if len(found := streamed(client)) >= 2 else None, within_s=10)
    assert [line.split(" ", 1)[1] for line in lines] == [
        "INFO gpu@here extract-x/3: first",
        "INFO gpu@here extract-x/3: second",
    ]


def test_work_goes_on_while_redis_is_away() -> None:
    away = redis.Redis(unix_socket_path="/nonexistent/socket")
    configure_logging("w", "text")
    stream_job_lines("w", away)
    with working_on(LEASE):
        for n in range(20):
            LOG.info("line %d", n)


AWAY = [redis.ConnectionError("Error 111\nrefused"), redis.TimeoutError("no answer"), OperationalError("gone")]


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_server_that_is_away_is_one_line_and_no_stack(
    form: str, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("w", form)
    try:
        raise error
    except Exception:
        LOG.exception("the chunk is given up")
    [line] = capsys.readouterr().err.splitlines()
    message = f"the chunk is given up: {' '.join(str(error).split())}"
    if form == "text":
        assert line.endswith(f"ERROR w -: {message}")
    else:
        fields = json.loads(line)
        assert fields["message"] == message
        assert "exception" not in fields


def test_what_was_measured_is_fields_of_the_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("w", "json")
    LOG.info("chunk committed", extra={"measured": {"texts": 3, "seconds": 0.5}})
    fields = json.loads(capsys.readouterr().err)
    assert (fields["texts"], fields["seconds"], fields["message"]) == (3, 0.5, "chunk committed")


def test_warnings_of_python_are_lines_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("w", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    fields = json.loads(capsys.readouterr().err)
    assert (fields["level"], fields["logger"]) == ("WARNING", "py.warnings")
    assert "DeprecationWarning: old" in fields["message"]


def test_celery_and_billiard_print_nothing_beside_the_log(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery.apps.worker, "safe_say", celery.apps.worker.safe_say)
    monkeypatch.setenv("_MP_FORK_LOGLEVEL_", "20")
    silence_other_lines()
    celery.apps.worker.safe_say("worker: Warm shutdown (MainProcess)", sys.__stdout__)
    assert capfd.readouterr() == ("", "")
    assert "_MP_FORK_LOGLEVEL_" not in os.environ
