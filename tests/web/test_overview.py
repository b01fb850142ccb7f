"""The first page: what runs, the workers with their GPUs, and the queues over the last hour."""

import re
from typing import Any

import msgspec
import pytest
import redis

from jdq.cli.client import Client
from jdq.cli.web import overview
from jdq.cli.web.overview import SAMPLES, Observer
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job
from tests.jobs.conftest import Workplace
from tests.waiting import until
from tests.web.conftest import Browser
from tests.web.test_jobs import EXTRACT, listed


def values(observer: Observer, title: str) -> list[float]:
    """The heights of a chart's points: 0 is none, 1 the most."""
    [chart] = [chart for chart in observer.charts() if chart.title == title]
    return [round((97 - float(point.partition(",")[2])) / 94, 2) for point in chart.points.split()]


def test_charts_show_pending_chunks_and_tokens_per_second(workplace: Workplace) -> None:
    client, ledger = Client(workplace.environment), workplace.client
    observer = Observer(client)
    observer.observe(100.0)
    jobs = [workplace.jobbook.create(EXTRACT)[0] for _ in range(4)]
    ledger.hset("jdq:totals", "tokens", 1_000)
    observer.observe(110.0)
    ledger.hset(f"jdq:job:{jobs[0]}", "state", "running")
    ledger.hset(f"jdq:job:{jobs[0]}:live", "1", '{"tokens": 500}')  # that a chunk in flight has processed
    for job in jobs[1:3]:
        workplace.jobbook.cancel(job)
    observer.observe(120.0)
    assert values(observer, "cpu queue") == [0, 1, 0.5]
    assert values(observer, "gpu queue") == [0, 0, 0]
    assert values(observer, "Throughput") == [1, 0.5]
    assert {chart.title: (chart.now, chart.most) for chart in observer.charts()} == {
        "gpu queue": ("0 chunks pending, 0 leased; 0 of 0 workers busy", "0"),
        "cpu queue": ("2 chunks pending, 0 leased; 0 of 0 workers busy", "4"),
        "Throughput": ("50 tokens/s", "100"),
    }
    client.close()


def test_a_chart_holds_an_hour_and_its_newest_value_is_at_the_right(workplace: Workplace) -> None:
    client = Client(workplace.environment)
    observer = Observer(client)
    observer.observe(0.0)
    assert observer.charts()[0].points.startswith("100.00,")
    for n in range(SAMPLES + 5):
        observer._pending["gpu"].append(n)
    xs = [float(point.partition(",")[0]) for point in observer.charts()[0].points.split()]
    assert (len(xs), xs[0], xs[-1]) == (SAMPLES, 0, 100)
    client.close()


def test_the_page_shows_workers_their_gpus_and_what_they_work_on(browser: Browser, workplace: Workplace) -> None:
    assert "No worker runs" in browser.get("/")
    job, other = (workplace.jobbook.create(EXTRACT)[0] for _ in range(2))
    gpu = {"uuid": "GPU-1", "percent": 87, "used": 20 << 30, "total": 80 << 30, "power_w": 310.4}
    described: dict[str, Any] = {"queue": "gpu", "host": "node", "device": "cuda H100", "gpu": gpu}
    runtime = workplace.runtime("gpu", "busy")
    runtime.ledger.heartbeat(described)
    ledger = workplace.client
    ledger.hset("jdq:workers:busy", "busy-gpu", job)
    ledger.hset("jdq:workers:speed", "busy-gpu", 12_345)
    workplace.runtime("cpu", "sick").ledger.heartbeat({"queue": "cpu"})
    ledger.hset("jdq:workers:sick", "sick-cpu", msgspec.json.encode({"reason": "<b>three chunks failed</b>"}))
    page = browser.get("/")
    assert listed(page) == [job]
    assert other not in page
    assert "12,345 tokens/s, 87 % GPU, 20.0 GiB of 80.0 GiB, 310 W" in page
    assert re.search(r'class="state busy">busy', page)
    assert f'<a href="/jobs/{job}">{job}</a></td>' in page
    assert "&lt;b&gt;three chunks failed&lt;/b&gt;" in page


def test_the_server_observes_by_itself(browser: Browser, workplace: Workplace) -> None:
    until(lambda: browser.get("/").count("0 of 0 workers busy") >= 2)


def test_the_page_says_when_the_queues_are_not_observed_and_goes_on(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "SAMPLE_S", 0.01)
    observer = Observer(Client(workplace.environment))
    with monkeypatch.context() as patched:
        patched.setattr(JobBook, "survey", lambda _: refused())
        observer.start()
        until(lambda: observer.problem == "gone")
    until(lambda: observer.problem == "" and observer.charts()[0].now)
    observer.stop()


def refused() -> list[Job]:
    raise redis.ConnectionError("gone")
