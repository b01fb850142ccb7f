"""Each alert of docker/monitoring fires by its fault: injected into a real ledger, scraped, and given to promtool."""

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
from tests.queue.ledgers import taken

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


def healthy(client: redis.Redis) -> dict[str, float]:
    """The samples of an idle worker of each queue."""
    client.flushall()
    _worker(client)
    ledger_of(client, "gpu@host", "gpu", version="1.0")
    return HEALTHY | scrape(client)


def faulty(client: redis.Redis, fault: Fault) -> dict[str, float]:
    try:
        fault(client)
        return HEALTHY | scrape(client)
    finally:
        client.config_set("maxmemory", 0)


def case(name: str, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    """The samples of two hours, which change after half an hour, and questions that are answered with what fires."""
    # promtool prints what it got instead of what is expected here, which nothing is.
    asked = [
        {
            "expr": f'label_replace(ALERTS{{alertstate="firing"}}, "fault", "{fault}", "", "")',
            "eval_time": at,
            "exp_samples": [],
        }
        for fault, at in ((f"before {name}", "29m"), (name, "35m"), (name, "75m"))
    ]
    series = [
        {"series": sample, "values": f"{_value(before, sample)}x29 {_value(after, sample)}x60"}
        for sample in sorted(before | after)
    ]
    return {"interval": "1m", "input_series": series, "promql_expr_test": asked}


def _value(samples: dict[str, float], name: str) -> str:
    return f"{samples[name]:.0f}+0" if name in samples else "_"


def promtool_test(folder: Path, test: dict[str, Any]) -> str:
    (folder / "test.yml").write_text(json.dumps(test), encoding="utf-8")
    ran = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True)
    return ran.stdout + ran.stderr


@needs_promtool
def test_each_alert_fires_by_its_fault_and_not_before(client: redis.Redis, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    cases = [case(name, healthy(client), faulty(client, fault)) for name, (fault, _) in FAULTS.items()]
    sound = healthy(client)
    cases += [case(name, sound, sound | samples) for name, samples in SAMPLES.items()]
    test = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": cases}
    fired: dict[str, set[str]] = {}
    for alert, fault in re.findall(r'alertname="(\w+)".*?fault="([\w ]+)"', promtool_test(tmp_path, test)):
        fired.setdefault(fault, set()).add(alert)
    assert fired == {name: {name, *also} for name, (_, also) in FAULTS.items()} | {name: {name} for name in SAMPLES}


def rules() -> dict[str, str]:
    """The expression of each alert."""
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    return dict(re.findall(r"alert: (\w+)\n +expr: (.*?)\n +(?:for|labels):", text, re.DOTALL))


@pytest.mark.parametrize("alert", FAULTS)
def test_a_fault_is_in_a_sample_that_the_rule_of_its_alert_selects(alert: str, client: redis.Redis) -> None:
    before, after = healthy(client), faulty(client, FAULTS[alert][0])
    changed = {name for name, value in after.items() if before.get(name) != value}
    selectors = re.findall(r"(jdq_\w+)(?:\{(\w+)(=~|!?=)\"(.*?)\"\})?", rules()[alert])
    assert any(_selects(sample, *selector) for sample in changed for selector in selectors)


def _selects(sample: str, metric: str, label: str, operator: str, pattern: str) -> bool:
    name, _, labels = sample.partition("{")
    value = re.search(rf'{label}="(.*?)"', labels) if label else None
    matches = not label or (value is not None and re.fullmatch(pattern, value[1]) is not None)
    return name == metric and matches != (operator == "!=")


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
    asked = [{"expr": query, "eval_time": "80m", "exp_samples": []} for query in queries()]
    test = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}
    said = promtool_test(tmp_path, test)
    answered = {json.loads(query) for query in re.findall(r'expr: (".*"), time', said)}
    assert [query for query in queries() if query not in answered] == [], said


@needs_promtool
def test_promtool_accepts_the_configuration() -> None:
    command = ["promtool", "check", "config", str(FOLDER / "prometheus.yml")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_a_fault_and_is_documented() -> None:
    assert sorted(rules()) == sorted([*FAULTS, *SAMPLES])
    page = (PROJECT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    assert [alert for alert in rules() if f"`{alert}`" not in page] == []


def test_alerts_and_dashboard_name_only_metrics_that_are_documented_and_exported(client: redis.Redis) -> None:
    gpu = {"uuid": "GPU-1", "percent": 40, "used": 5, "total": 8, "power_w": 312.5}
    ledger = ledger_of(client, WORKER, gpu=gpu)
    job = _submit(client)
    exported = set(scrape(client))
    ledger.commit(taken(ledger, job), Outcome(counts={"computed": 3, "tokens": 40, "device_ms": 20}))
    exported |= set(scrape(client))
    names = {sample.partition("{")[0] for sample in exported} | {"jdq_store_bytes", "jdq_store_free_bytes"}
    assert set(re.findall(r"\bjdq_\w+", " ".join([*rules().values(), *queries()]))) <= names
    page = (PROJECT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(jdq_\w+)[`{]", page))
    assert {re.sub(r"(_seconds)_(sum|count)$", r"\1", name) for name in names} == documented
