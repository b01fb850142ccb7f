"""The pages on a Redis and a store of the test's own, as Alice sees them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from jdq.cli.web.access import token_digest
from jdq.cli.web.app import application
from tests.cli.conftest import jdq
from tests.jobs.conftest import Workplace, workplace
from tests.waiting import until

__all__ = ["jdq", "workplace"]

TOKEN = "alices-token"
OWNERS = {token_digest(TOKEN): "alice", token_digest("bobs-token"): "bob"}
HERE = {"sec-fetch-site": "same-origin"}


@dataclass(frozen=True)
class Browser:
    """A browser without JavaScript."""

    client: TestClient

    def log_in(self, token: str = TOKEN, page: str = "/jobs") -> int:
        """The status of the answer."""
        return int(self.post("/login", token=token, page=page).status_code)

    def get(self, address: str, status: int = 200) -> str:
        """The page."""
        answer = self.client.get(address)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, address: str, *, headers: Any = None, **form: str) -> Any:
        """The answer to a form of a page, not followed."""
        return self.client.post(address, data=form, headers=HERE if headers is None else headers)


@pytest.fixture
def stranger(workplace: Workplace) -> Iterator[Browser]:
    """Not logged in."""
    with TestClient(application(workplace.environment, OWNERS), follow_redirects=False) as client:
        yield Browser(client)


@pytest.fixture
def browser(stranger: Browser) -> Browser:
    """Alice's."""
    assert stranger.log_in() == 303
    return stranger


@contextmanager
def serving(environment: dict[str, str], refresh_s: float = 0.05) -> Iterator[str]:
    """The address of a server; refresh_s: how often it makes open pages again."""
    app = application(environment, OWNERS, refresh_s=refresh_s, ending=lambda: server.should_exit)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=10))
    thread = Thread(target=server.run)
    thread.start()
    until(lambda: server.started, why="the server listens")
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def address(workplace: Workplace) -> Iterator[str]:
    with serving(workplace.environment) as address:
        yield address
