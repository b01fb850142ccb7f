"""The programs beside the workers, run as a container or the client runs them."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
import redis
from click.testing import CliRunner

from jdq.worker.programs.health import health
from jdq.worker.programs.metrics import chunks_by_state, open_jobs, totals, workers_by_state
from jdq.worker.programs.prometheus_exporter import export
from jdq.worker.queue.contract import TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from tests.jobs.conftest import Workplace
from tests.waiting import until

SPEC = TrainHead(dataset="d", version="v")


def registered(client: redis.Redis, worker: str) -> Ledger:
    ledger = Ledger(client, worker=worker, queue="cpu", lease_s=60, reclaim_s=0)
    ledger.heartbeat({"pid": 1, "host": "host", "queue": "cpu", "device": "cpu", "started": 0})
    return ledger


def test_the_health_program_prints_the_state_or_exits_with_1(workplace: Workplace) -> None:
    run, client = CliRunner(env=workplace.environment), workplace.client
    ledger = registered(client, "one@host")
    idle = run.invoke(health, ["one@host"])
    assert (idle.exit_code, idle.stdout) == (0, "idle\n")
    job, _ = JobBook(client).create(SPEC)
    assert ledger.next(job) is not None
    assert run.invoke(health, ["one@host"]).stdout == f"busy on {job}\n"
    client.zadd("jdq:workers:seen", {"one@host": 1000.0})
    silent = run.invoke(health, ["one@host"])
    assert (silent.exit_code, silent.stdout) == (0, f"silent, but it holds the lease of a chunk of {job}\n")
    nobody = run.invoke(health, ["other@host"])
    assert (nobody.exit_code, nobody.stdout) == (1, "") and "no worker other@host has registered" in nobody.stderr


def test_the_health_program_tells_no_redis_from_an_unhealthy_worker(workplace: Workplace) -> None:
    run = CliRunner(env=workplace.environment | {"JDQ_BROKER_URL": "redis://127.0.0.1:1/0"})
    assert run.invoke(health, ["one@host"]).exit_code == 3


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_exporter_serves_metrics_until_it_is_stopped(workplace: Workplace, number: int) -> None:
    registered(workplace.client, "one@host")
    port = free_port()
    program = [sys.executable, "-m", "jdq.worker.programs.prometheus_exporter", "--address", "127.0.0.1"]
    process = subprocess.Popen([*program, "--port", str(port)], env=os.environ | workplace.environment)
    try:
        page: list[str] = []

        def served() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    page.append(answer.read().decode())
            except OSError:
                return False
            return True

        until(served, within_s=60, why="the exporter answers")
        lines = page[0].splitlines()
        assert "jdq_ledger_up 1.0" in lines and 'jdq_workers{queue="cpu",state="idle"} 1.0' in lines
        assert not any(line.startswith(("python_", "process_")) for line in lines)
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_port_that_does_not_exist_is_refused() -> None:
    assert CliRunner().invoke(export, ["--port", "65536"]).exit_code == 2


def samples(metric: object) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in metric.samples}  # type: ignore[attr-defined]


def test_every_queue_has_a_number_for_each_state_before_the_first_job() -> None:
    assert samples(open_jobs([])) == {}
    assert samples(chunks_by_state([])) == {
        (queue, state): 0 for queue in ("cpu", "gpu") for state in ("pending", "leased", "delayed")
    }
    assert samples(workers_by_state([])) == {
        (queue, state): 0 for queue in ("cpu", "gpu") for state in ("idle", "busy", "sick", "dead")
    }


def test_counters_sum_the_committed_chunks_of_all_jobs(client: redis.Redis) -> None:
    ledger, jobbook = registered(client, "one@host"), JobBook(client)
    for number in (1, 2):
        job, _ = jobbook.create(TrainHead(dataset="d", version=f"v{number}"))
        lease = ledger.next(job)
        assert lease is not None
        ledger.commit(lease, Outcome(counts={"computed": 3, "reused": 5 * number, "truncated": number, "tokens": 40}))
    found = {metric.name: sample.value for metric in totals(jobbook.totals()) for sample in metric.samples}
    texts = {name: value for name, value in found.items() if name.startswith(("jdq_texts", "jdq_tokens"))}
    assert texts == {
        "jdq_texts_computed": 6, "jdq_texts_reused": 15, "jdq_texts_truncated": 3, "jdq_tokens_computed": 80,
    }  # fmt: skip
