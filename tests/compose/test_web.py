"""The service `web`: its pages for who has a token, in a container without root rights, and work that they start."""

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from urllib.parse import urlencode

import pytest

from tests.compose.conftest import WEB_TOKEN
from tests.compose.stack import Stack, docker
from tests.compose.test_access import address
from tests.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.slow]


class Browser:
    """A browser with its cookies, at one address."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def ask(self, path: str, **form: str) -> tuple[int, str]:
        """Status and page, after redirects; with a form, what follows it. Status 0: no answer."""
        data = urlencode(form).encode() if form else None
        request = urllib.request.Request(self._root + path, data, {"Origin": self._root} if form else {})
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


@pytest.fixture(scope="module")
def web(stack: Stack) -> Iterator[str]:
    """The address of the service, started as docs/how-to/web.md starts it."""
    stack.compose("--profile", "web", "up", "-d", "--no-build", "web")
    root = address(stack, "web", 8765)
    until(lambda: Browser(root).ask("/")[0], within_s=120, why="the pages answer")
    yield root
    stack.compose("--profile", "web", "rm", "-sf", "web")


def test_the_client_makes_a_token_and_what_the_service_is_told_of_it(stack: Stack) -> None:
    made = stack.jdq("web", "--new-token", "carol")
    token = made.stdout.strip()
    assert f"carol={hashlib.sha256(token.encode()).hexdigest()}" in made.stderr


def test_the_service_is_healthy_without_root_rights_and_on_this_machine_only(stack: Stack, web: str) -> None:
    until(lambda: stack.inspect("web")["State"]["Health"]["Status"] == "healthy", within_s=120, why="web is healthy")
    host = stack.inspect("web")["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert docker("exec", stack.container("web"), "id", "-u").strip() == "10001"
    assert [port["HostIp"] for ports in host["PortBindings"].values() for port in ports] == ["127.0.0.1"]


def test_pages_are_for_who_has_a_token_and_start_work_of_the_workers(stack: Stack, web: str) -> None:
    extraction = stack.submit("extract", "/data/few.csv", "--name", "web")
    stack.succeeded(extraction, within_s=120)
    browser = Browser(web)
    status, page = browser.ask("/jobs")
    assert (status, extraction in page) == (401, False)
    assert browser.ask("/login", token="wrong", page="/jobs")[0] == 401
    status, page = browser.ask("/login", token=WEB_TOKEN, page="/jobs")
    assert (status, extraction in page) == (200, True)
    assert "cpu-worker-" in browser.ask("/")[1]
    status, page = browser.ask("/datasets/web/train", head="logreg", params="C=0.5")
    assert status == 200
    [head] = set(re.findall(r"train-head-[a-z0-9]{8}", page))
    assert stack.succeeded(head, within_s=120)["params"]["C"] == 0.5
    assert stack.ask("status", head)["owner"] == "alice"
    assert head in browser.ask("/datasets/web")[1]
