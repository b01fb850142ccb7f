"""An alert on the running stack: from the fault over exporter and Prometheus to the list of firing alerts."""

import json
from pathlib import Path

import pytest

from tests.compose.stack import Stack, docker
from tests.compose.test_access import address, get
from tests.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.slow]


def test_a_failed_job_becomes_a_firing_alert(stack: Stack, prometheus: str, folder: Path) -> None:
    stack.compose("--profile", "monitoring", "up", "-d", "--no-build", "--no-deps", "prometheus")
    host = stack.inspect("prometheus")["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"]
    url = address(stack, "prometheus", 9090)

    def scraped() -> bool:
        targets = json.loads(get(f"{url}/api/v1/targets")[1] or "{}").get("data", {}).get("activeTargets", [])
        return [target["health"] for target in targets] == ["up"]

    until(scraped, within_s=90, why="Prometheus scrapes the exporter")
    job = stack.submit("extract", "/data/few.csv", "--encoder", "/models/nothing", "--name", "failing")
    until(lambda: stack.ask("status", job)["state"] == "failed", within_s=90, why="the job fails")

    def firing() -> set[str]:
        alerts = json.loads(get(f"{url}/api/v1/alerts")[1])["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    until(lambda: "JdqJobFailed" in firing(), within_s=120, why="the alert fires")
    stack.compose("rm", "-sf", "prometheus")
    assert docker("ps", "-q", "--filter", f"ancestor={prometheus}") == ""
