"""Fixtures that every part's tests share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.bart_tokenizer import write_bart_tokenizer
from tests.redis_server import RedisServer

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real test data: JDQ_TEST_DATA, or shared/data beside the project; skips where it is absent."""
    folder = Path(os.environ.get("JDQ_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set JDQ_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def bart_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vocab.json and merges.txt of BART's form and size: read it, do not change it."""
    return write_bart_tokenizer(tmp_path_factory.mktemp("tokenizer") / "bart")


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """One Redis-compatible server for all tests; a socket's path must be short, so it is not in pytest's folder."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        server = RedisServer(Path(folder)).start()
        yield server
        server.kill()


@pytest.fixture
def client(server: RedisServer) -> redis.Redis:
    """An empty database on it."""
    client = server.client()
    client.flushall()
    return client
