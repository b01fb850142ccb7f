"""`jdq web`: its tokens, and the server that it starts."""

import os
import re
import signal
import socket
import subprocess
from contextlib import closing
from http.client import HTTPConnection

import pytest

from jdq.cli import programs
from jdq.cli.web.access import token_digest
from jdq.worker.config import ConfigError, read_config
from tests.cli.conftest import CommandLine
from tests.cli.test_watch import JDQ
from tests.jobs.conftest import Workplace
from tests.web.conftest import HERE


def test_a_new_token_is_printed_with_the_setting_that_admits_it(jdq: CommandLine) -> None:
    made = jdq.run("web", "--new-token", "alice")
    token = made.stdout.strip()
    assert len(token) == 32
    assert made.stderr == f"add to JDQ_WEB_TOKENS, and restart jdq web: alice={token_digest(token)}\n"
    assert jdq.run("web", "--new-token", "alice").stdout.strip() != token
    both = f"alice={token_digest(token)},bob={token_digest('b')}"
    config = read_config({**jdq.workplace.environment, "JDQ_WEB_TOKENS": both})
    assert config.owner_of_token == {token_digest(token): "alice", token_digest("b"): "bob"}


@pytest.mark.parametrize("tokens", ["alice", "alice=token", "=" + "0" * 64, "a b=" + "0" * 64, "alice=" + "0" * 65])
def test_a_setting_that_is_none_is_refused_when_it_is_read(jdq: CommandLine, tokens: str) -> None:
    with pytest.raises(ConfigError, match=r"JDQ_WEB_TOKENS is .*; it must be owners and digests of tokens"):
        read_config({**jdq.workplace.environment, "JDQ_WEB_TOKENS": tokens})


def test_a_port_that_is_taken_is_an_error(jdq: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = jdq.run("web", "--port", str(taken.getsockname()[1]), code=2).stderr
    assert "cannot listen on 127.0.0.1" in error
    assert "try: jdq web --port 0" in error


def test_without_the_packages_the_command_says_which_to_install(
    jdq: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "missing_packages", lambda names: ["uvicorn"])
    assert "pip install 'jdq[web]'" in jdq.run("web", code=2).stderr


@pytest.mark.parametrize("tokens", ["", f"bob={token_digest('bobs')}"])
def test_the_printed_address_opens_the_pages_until_the_command_is_interrupted(
    workplace: Workplace, tokens: str
) -> None:
    environment = {**os.environ, **workplace.environment, "JDQ_WEB_TOKENS": tokens, "JDQ_USER": "carol"}
    command = [*JDQ, "web", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        printed = process.stderr.readline()
        found = re.fullmatch(r"http://127.0.0.1:(\d+)/(#token=(.+))?\n", printed)
        assert found, printed + process.stderr.read()
        assert (found[3] is None) == bool(tokens)
        with closing(HTTPConnection("127.0.0.1", int(found[1]), timeout=30)) as connection:
            connection.request("POST", "/login", f"token={found[3] or 'bobs'}", HERE)
            with connection.getresponse() as answer:
                cookie = answer.headers["set-cookie"]
            connection.request("GET", "/jobs", headers={"cookie": cookie})
            with connection.getresponse() as answer:
                assert f"Log out {'bob' if tokens else 'carol'}" in answer.read().decode()
            connection.request("GET", "/jobs", headers={"cookie": cookie, "accept": "text/event-stream"})
            with connection.getresponse() as answer:  # a page that is open
                assert answer.readline()
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=30) == 130
        assert process.stderr.read() == ""
