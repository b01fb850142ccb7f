"""Each alert of docker/monitoring fires by its fault: injected into a real ledger, scraped, and given to promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from tests.conftest import PROJECT
from tests.monitoring.test_monitoring import SPEC, WORKER, fall_silent, ledger_of, scrape
from tests.queue.test_ledger import taken

FOLDER = PROJECT / "docker" / "monitoring"
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool on the PATH (apt: prometheus)")
Fault = Callable[[redis.Redis], object]
HEALTHY = {'up{job="jdq"}': 1.0, "jdq_store_free_bytes": 2.0**40}


def _worker(client: redis.Redis) -> Ledger:
    return ledger_of(client, WORKER, version="1.0")


def _submit(client: redis.Redis) -> str:
    return JobBook(client).create(SPEC)[0]


def _no_worker(client: redis.Redis) -> None:
    _submit(client)
    fall_silent(client, WORKER)


def _fail_chunks(client: redis.Redis) -> None:
    ledger = _worker(client)
    for _ in range(5):
        ledger.release_after_fault(taken(ledger, _submit(client)), "OSError: a cable")
        ledger.recover()
    for job in JobBook(client).ids():
        JobBook(client).cancel(job)


def _fail_job(client: redis.Redis) -> None:
    ledger = _worker(client)
    ledger.fail(taken(ledger, _submit(client)), {"type": "E", "message": "m"})


FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "JdqNoWorkers": (_no_worker, {"JdqNoProgress", "JdqWorkerDead"}),
    "JdqNoProgress": (_submit, set()),
    "JdqWorkerDead": (lambda client: fall_silent(client, WORKER), set()),
    "JdqWorkerSick": (lambda client: _worker(client).quarantine("its device is broken"), set()),
    "JdqChunksFail": (_fail_chunks, set()),
    "JdqJobFailed": (_fail_job, set()),
    "JdqRedisMemory": (lambda client: client.config_set("maxmemory", client.info()["used_memory"]), set()),
    "JdqVersionsDiffer": (lambda client: ledger_of(client, "new@host", version="9.9"), set()),
}
# Those whose fault is seen beside the ledger: the sample that shows it.
SAMPLES = {
    "JdqExporterDown": {'up{job="jdq"}': 0.0},
    "JdqRedisDown": {"jdq_ledger_up": 0.0},
    "JdqStoreNearlyFull": {"jdq_store_free_bytes": 19.0 * 2**30},
}


def firing(before: dict[str, float], after: dict[str, float], folder: Path) -> set[str]:
    """The alerts that fire an hour after the samples changed, or soon after; none may fire before."""
    shutil.copy(FOLDER / "alerts.yml", folder)
    series = [
        {"series": name, "values": f"{_sample(before, name)}x29 {_sample(after, name)}x60"}
        for name in sorted(before | after)
    ]
    query = 'group by (alertname) (ALERTS{alertstate="firing"})'
    found: set[str] = set()
    for at in ("29m", "35m", "75m"):
        # promtool prints what it got instead of what is expected here, which nothing is.
        asked: dict[str, Any] = {"expr": query, "eval_time": at, "exp_samples": []}
        groups = [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}]
        test = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": groups}
        (folder / "test.yml").write_text(json.dumps(test), encoding="utf-8")
        ran = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True)
        names = set(re.findall(r'alertname="(\w+)"', ran.stdout + ran.stderr))
        assert bool(names) == bool(ran.returncode), ran.stdout + ran.stderr
        assert at != "29m" or names == set()
        found |= names
    return found


def _sample(samples: dict[str, float], name: str) -> str:
    return f"{samples[name]:.0f}+0" if name in samples else "_"


@pytest.fixture
def healthy(client: redis.Redis) -> dict[str, float]:
    """The samples of an idle worker of each queue."""
    _worker(client)
    ledger_of(client, "gpu@host", "gpu", version="1.0")
    return HEALTHY | scrape(client)


@needs_promtool
@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_fires_by_the_fault_that_it_is_for(
    alert: str, healthy: dict[str, float], client: redis.Redis, tmp_path: Path
) -> None:
    fault, also = FAULTS[alert]
    try:
        fault(client)
        after = HEALTHY | scrape(client)
    finally:
        client.config_set("maxmemory", 0)
    assert firing(healthy, after, tmp_path) == {alert, *also}


@needs_promtool
@pytest.mark.parametrize("alert", SAMPLES)
def test_an_alert_fires_by_what_the_ledger_does_not_show(alert: str, healthy: dict[str, float], tmp_path: Path) -> None:
    assert firing(healthy, healthy | SAMPLES[alert], tmp_path) == {alert}


def queries() -> list[str]:
    """Those of the dashboard."""
    dashboard: dict[str, Any] = json.loads((FOLDER / "grafana" / "jdq.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


@needs_promtool
def test_every_query_of_the_dashboard_has_an_answer(client: redis.Redis, tmp_path: Path) -> None:
    gpu = {"uuid": "GPU-1", "percent": 40, "used": 5, "total": 8, "power_w": 312.5}
    ledger = ledger_of(client, WORKER, gpu=gpu)
    ledger.commit(taken(ledger, _submit(client)), Outcome(counts={"computed": 3, "tokens": 40, "device_ms": 20}))
    _submit(client)
    before = {"jdq_store_bytes": 5.0, "jdq_store_free_bytes": 5.0} | scrape(client)
    # As Prometheus scrapes them: it adds the label `job`.
    series = [
        {"series": f'{name}{{job="jdq",{labels}', "values": f"{value}+1x90"}
        for sample, value in before.items()
        for name, _, labels in [sample.partition("{") if "{" in sample else (sample, "", "}")]
    ]
    for query in queries():
        asked: dict[str, Any] = {"expr": query, "eval_time": "80m", "exp_samples": []}
        test = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}]}
        (tmp_path / "test.yml").write_text(json.dumps(test), encoding="utf-8")
        command = ["promtool", "test", "rules", "test.yml"]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert re.search(r"got: (?!nil)\S", ran.stdout + ran.stderr), f"{query}: {ran.stdout}{ran.stderr}"


@needs_promtool
def test_promtool_accepts_the_configuration() -> None:
    command = ["promtool", "check", "config", str(FOLDER / "prometheus.yml")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_a_fault_and_is_documented() -> None:
    alerts = re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    assert sorted(alerts) == sorted([*FAULTS, *SAMPLES])
    page = (PROJECT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    assert [alert for alert in alerts if f"`{alert}`" not in page] == []


def test_alerts_and_dashboard_name_only_metrics_that_are_documented_and_exported(client: redis.Redis) -> None:
    gpu = {"uuid": "GPU-1", "percent": 40, "used": 5, "total": 8, "power_w": 312.5}
    ledger = ledger_of(client, WORKER, gpu=gpu)
    job = _submit(client)
    exported = set(scrape(client))
    ledger.commit(taken(ledger, job), Outcome(counts={"computed": 3, "tokens": 40, "device_ms": 20}))
    exported |= set(scrape(client))
    names = {sample.partition("{")[0] for sample in exported} | {"jdq_store_bytes", "jdq_store_free_bytes"}
    rules = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\bjdq_\w+", " ".join([rules, *queries()]))) <= names
    page = (PROJECT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(jdq_\w+)[`{]", page))
    assert {re.sub(r"(_seconds)_(sum|count)$", r"\1", name) for name in names} == documented
