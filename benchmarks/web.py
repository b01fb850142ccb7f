"""First paint of the page of jobs in Chromium, with 10,000 jobs: ``python -m benchmarks.web``.

From the navigation to the browser's first-contentful-paint, with a warm browser and server on this machine, so without
the time of a network. Each round loads /jobs (50 jobs) and the overview; against them, once, all jobs in one table.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import click
from playwright.sync_api import sync_playwright

from jdq.worker.queue.contract import Extract
from jdq.worker.queue.jobbook import JobBook
from tests.chromium import CHROMIUM
from tests.redis_server import RedisServer
from tests.waiting import until
from tests.web.conftest import TOKEN, serving

JOBS, ROUNDS = 10_000, 7
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    """Prints milliseconds until the first paint."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder, ExitStack() as stack:
        server = RedisServer(Path(folder) / "redis").start()
        stack.callback(server.kill)
        with server.client() as client:
            for n in range(JOBS):
                JobBook(client).create(Extract(dataset=f"postings-{n % 7}", version="v1", encoder="facebook/bart-base"))
        environment = {"JDQ_HOME": folder, "JDQ_BROKER_URL": server.url}
        with serving(environment, refresh_s=2) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            measure(browser.new_page(base_url=address))
            browser.close()


def measure(page: Any) -> None:
    """Loads each page in turn."""
    page.goto(f"/#token={TOKEN}")
    page.get_by_role("heading", name="Overview").wait_for()
    for path in ("/jobs", "/"):
        times = [first_paint(page, path) for _ in range(ROUNDS)]
        click.echo(f"{path}: first paint after {median(times):.0f} ms, {max(times):.0f} in the worst of {ROUNDS}")
    with patch("jdq.cli.web.jobs.PAGE", JOBS):
        click.echo(f"all {JOBS:,} jobs in one table: {first_paint(page, '/jobs'):.0f} ms")


def first_paint(page: Any, path: str) -> float:
    """Milliseconds from the navigation."""
    page.goto(path, wait_until="commit", timeout=0)
    return until(lambda: float(page.evaluate(FIRST_PAINT) or 0), within_s=300)


if __name__ == "__main__":
    main()
