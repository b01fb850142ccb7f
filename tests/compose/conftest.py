"""Images, a running stack, and data: made once for all tests of this folder, and taken away whatever happens."""

import csv
import hashlib
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.stack import CPU_FILES, PROJECT, Stack, docker, engine_answers

ROWS, SOME_ROWS = 5_000, 1_200
REPEATED = 100  # rows whose text is in the table twice
PASSWORD, WEB_TOKEN = secrets.token_hex(16), secrets.token_urlsafe(24)
VERSION = "test"
PROMETHEUS = "jdq-test-prometheus"
# Debian's, where the registry of the image in compose.yaml cannot be reached.
PROMETHEUS_BUILD = """
FROM python:3.11-slim-bookworm
RUN apt-get update -q && apt-get install -y -q --no-install-recommends prometheus \\
 && install -d -o 65534 -g 65534 /prometheus
USER 65534
ENTRYPOINT ["prometheus"]
"""


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skips where no Docker engine answers."""
    if not engine_answers():
        pytest.skip("no Docker engine and compose answer: start one, and set DOCKER_HOST where it is not the default")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that containers mount, open to their user."""
    root = tmp_path_factory.mktemp("compose")
    for name in ("data", "models", "tls"):
        (root / name).mkdir()
        (root / name).chmod(0o777)
    return root


@pytest.fixture(scope="session")
def settings(folder: Path) -> dict[str, str]:
    """What a user would write into .env; leases are short, so that a killed worker's chunk is soon taken by another."""
    return {
        "JDQ_REDIS_PASSWORD": PASSWORD,
        "JDQ_FLOWER_PASSWORD": PASSWORD,
        "JDQ_VERSION": VERSION,
        "JDQ_BUILD_NETWORK": os.environ.get("JDQ_BUILD_NETWORK", "host"),
        "JDQ_DATA": str(folder / "data"),
        "JDQ_MODELS": str(folder / "models"),
        "JDQ_TLS": str(folder / "tls"),
        "JDQ_ENCODER": "/models/tiny",
        "JDQ_LEASE_S": "10",
        "JDQ_HEARTBEAT_S": "1",
        "JDQ_RECLAIM_S": "2",
        "JDQ_CHUNK_TOKENS": "4096",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        # Any free port of this machine.
        "JDQ_METRICS_PORT": "",
        "JDQ_FLOWER_PORT": "",
        "JDQ_REDIS_TLS_PORT": "",
        "JDQ_PROMETHEUS_PORT": "",
        "JDQ_WEB_PORT": "",
        "JDQ_WEB_TOKENS": f"alice={hashlib.sha256(WEB_TOKEN.encode()).hexdigest()}",
        "PROMETHEUS_IMAGE": PROMETHEUS,
    }


@pytest.fixture(scope="session")
def images(settings: dict[str, str], folder: Path) -> None:
    """Builds every image that does not need a GPU."""
    _fill_wheels()
    stack = Stack("jdq-test-build", folder, settings)
    for service in ("redis", "jdq", "metrics", "cpu-worker"):
        stack.compose("--profile", "client", "--profile", "monitoring", "build", service)


@pytest.fixture(scope="session")
def stack(images: None, settings: dict[str, str], folder: Path) -> Iterator[Stack]:
    """Redis, a worker of each queue and monitoring, running; a tiny BART and a table are at hand."""
    _make_model(folder / "models")
    _write_table(folder / "data" / "jobs.csv", ROWS)
    _write_table(folder / "data" / "some.csv", SOME_ROWS)
    _write_table(folder / "data" / "few.csv", 60)
    # A killed test run must clean up as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = Stack(f"jdq-test-{secrets.token_hex(4)}", folder, settings, CPU_FILES)
    try:
        # Not Prometheus and Grafana, whose images are not jdq's.
        services = ("redis", "gpu-worker", "cpu-worker", "metrics", "flower")
        stack.compose("--profile", "monitoring", "up", "-d", "--no-build", *services)
        yield stack
    finally:
        print(stack.compose("logs", "--tail", "60", check=False).stdout)  # noqa: T201 - pytest shows it on failure
        stack.remove()
        assert stack.leftovers() == []


@pytest.fixture(scope="session")
def prometheus() -> Iterator[str]:
    """The image of Prometheus, while the tests run."""
    published = re.findall(r"PROMETHEUS_IMAGE:-(\S+)}", (PROJECT / "compose.yaml").read_text(encoding="utf-8"))[0]
    docker("pull", "-q", published, check=False)
    if docker("image", "inspect", published, check=False) != "[]\n":
        docker("tag", published, PROMETHEUS)
    else:
        build = ["docker", "build", "-q", "--network", "host", "-t", PROMETHEUS, "-"]
        subprocess.run(build, input=PROMETHEUS_BUILD, text=True, check=True, capture_output=True)
    yield PROMETHEUS
    docker("rmi", "-f", PROMETHEUS)


def _fill_wheels() -> None:
    """Takes torch from this machine's folder of wheels where there is one, as docker/wheels/.gitignore says."""
    wheels = Path(os.environ.get("PIP_FIND_LINKS", ""))
    for wheel in wheels.glob("torch-*+cpu-*.whl") if wheels.is_absolute() else ():
        target = PROJECT / "docker" / "wheels" / wheel.name
        if not target.exists():
            shutil.copyfile(wheel, target)


def _make_model(folder: Path) -> None:
    docker(
        *("run", "--rm", "--network", "none", "--volume", f"{folder}:/models", "--entrypoint", "python"),
        *(
            f"jdq-worker-cpu:{VERSION}",
            "-m",
            "jdq.worker.encoder.tiny",
            "/models/tiny",
            "--dim",
            "256",
            "--layers",
            "4",
        ),
    )


def _write_table(path: Path, rows: int) -> None:
    """Texts of random length from the demo's sentences, with the label of the first, and some texts twice."""
    with (PROJECT / "demo" / "jobs.csv").open(encoding="utf-8", newline="") as file:
        postings = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    chance = random.Random(0)
    made = []
    for row in range(rows - min(REPEATED, rows // 10)):
        picked = chance.choices(postings, k=chance.randint(1, 5))
        made.append((f"{row}. " + " ".join(body for body, _ in picked), picked[0][1]))
    made += chance.sample(made, rows - len(made))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "label"), *made])
    path.chmod(0o644)
