"""A Redis of the user's own: with a password, over TLS, and a prompt error where it does not answer."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from jdq.cli.stack.server import find_server
from tests.stack.conftest import Stack
from tests.waiting import until

PASSWORD = "correct-horse"
CSV = "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        yield Path(folder)


@pytest.fixture
def tcp_server(tmp_path: Path) -> Iterator[int]:
    """A server on a TCP port, with a password."""
    port = free_port()
    command = [str(find_server().path), "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
    process = subprocess.Popen([*command, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    await_port(port)
    yield port
    process.terminate()
    process.wait()


def await_port(port: int) -> None:
    until(lambda: answers(port), why=f"a server listens on {port}")


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def tls_port(tcp_server: int, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A port that speaks TLS before the server, and the certificate to trust."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*made, *names], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    port = free_port()
    listening: Future[Callable[[], object]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(forward(port, tcp_server, context, listening)))
    thread.start()
    stop = listening.result(10)
    yield port, certificate
    stop()
    thread.join(10)


async def forward(port: int, to: int, context: ssl.SSLContext, listening: Future[Callable[[], object]]) -> None:
    """Serves TLS on `port` and passes the bytes on, until what it gives to `listening` is called."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=context):
        listening.set_result(lambda: loop.call_soon_threadsafe(stopped.set))
        await stopped.wait()


def works_through(url: str, home: Path) -> None:
    """Extracts a table with a worker of each queue, all through this URL."""
    stack = Stack(home / "home", {"JDQ_BROKER_URL": url})
    file = home / "table.csv"
    file.write_text(CSV)
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "jdq.worker.app", "worker", "-Q", queue, "-n", f"{queue}@%h"],
            env=stack.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for queue in ("gpu", "cpu")
    ]
    try:
        job = stack.run("submit", "extract", str(file), "--encoder", "hash:8", "--wait").stdout.strip()
        assert stack.json("result", job)["computed"] == 20
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(20)


def test_jobs_go_through_a_redis_with_a_password(tcp_server: int, home: Path) -> None:
    works_through(f"redis://:{PASSWORD}@127.0.0.1:{tcp_server}/0", home)


def test_jobs_go_through_tls(tls_port: tuple[int, Path], home: Path) -> None:
    port, certificate = tls_port
    works_through(f"rediss://:{PASSWORD}@localhost:{port}/0?ssl_ca_certs={certificate}", home)


def test_a_wrong_password_no_server_and_a_silent_one_are_said_within_five_seconds(tcp_server: int, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cases = {
            f"redis://:wrong@127.0.0.1:{tcp_server}/0": "password",
            f"redis://127.0.0.1:{tcp_server}/0": "password",
            f"redis://:wrong@127.0.0.1:{free_port()}/0": "refused",
            f"redis://:wrong@127.0.0.1:{silent.getsockname()[1]}/0": "imeout",
        }
        for url, word in cases.items():
            began = time.monotonic()
            error = Stack(home, {"JDQ_BROKER_URL": url}).run("jobs", code=3).stderr
            assert time.monotonic() - began < 8  # 5 s of waiting, and a process's start on a busy machine
            assert word in error, error
            assert "try: " in error
            assert "wrong@" not in error
