"""Workers of a second machine: another compose project, on networks of its own, over TLS."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.conftest import REPEATED, ROWS
from tests.compose.stack import CPU_FILES, Stack, docker
from tests.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.slow]

# The commands of docs/how-to/deploy.md, for the name by which a container reaches its own machine.
CERTIFICATES = """
set -e
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=jdq -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj /CN=redis -keyout server.key -out server.csr
echo subjectAltName=DNS:host.docker.internal > san
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.crt
chmod 644 server.key
"""


@pytest.fixture
def first(stack: Stack, settings: dict[str, str], folder: Path) -> Iterator[Stack]:
    """The running stack, its Redis with TLS on a port of this machine while the test lasts."""
    subprocess.run(["sh", "-c", CERTIFICATES], check=True, capture_output=True, cwd=folder / "tls")
    with_tls = Stack(stack.name, folder, settings, (*CPU_FILES, "docker/compose.tls.yaml"))
    try:
        with_tls.compose("up", "-d", "--no-build", "--no-deps", "redis")
        yield with_tls
    finally:
        stack.compose("up", "-d", "--no-build", "--no-deps", "redis")


@pytest.fixture
def second(first: Stack, settings: dict[str, str], folder: Path) -> Iterator[Stack]:
    """A project that shares nothing with the first but the store's folder and the password."""
    port = first.compose("port", "redis", "6380").stdout.strip().rpartition(":")[2]
    shared = docker("volume", "inspect", "--format", "{{.Mountpoint}}", f"{first.name}_store").strip()
    theirs = {
        "JDQ_HOST": "machine-2",
        "JDQ_STORE": shared,
        "JDQ_REDIS_SCHEME": "rediss",
        "JDQ_REDIS_ADDRESS": f"host.docker.internal:{port}",
        "JDQ_REDIS_OPTIONS": "?ssl_cert_reqs=required&ssl_ca_certs=/tls/ca.crt",
    }
    second = Stack(f"{first.name}-2", folder, settings | theirs, (*CPU_FILES, "docker/compose.remote.yaml"))
    try:
        yield second
    finally:
        second.remove()
        assert second.leftovers() == []


def test_workers_of_a_second_machine_join_over_tls(first: Stack, second: Stack) -> None:
    second.compose("up", "-d", "--no-build", "--no-deps", "--scale", "gpu-worker=2", "gpu-worker")

    def arrived() -> bool:
        hosts = [worker["host"] for worker in first.ask("workers") if worker["state"] == "idle"]
        return hosts.count("machine-2") == 2

    until(arrived, within_s=60, why="the second machine's workers are seen on the first")
    assert not second.compose("ps", "-q", "redis").stdout
    first.compose("stop", "gpu-worker")
    # 32 columns: another feature space than any other test fills.
    job = first.submit("extract", "/data/jobs.csv", "--encoder", "hash:32", "--name", "elsewhere")
    assert first.succeeded(job, within_s=120)["computed"] == ROWS - REPEATED
    first.up()
