"""--notify and its default in the configuration."""

import json
import sys

import pytest

from tests.cli.conftest import CommandLine

EXTRACT = ("--encoder", "hash:16")


def urls(jdq: CommandLine, job: str) -> list[str]:
    found: list[str] = json.loads(jdq.workplace.client.hget(f"jdq:job:{job}", "notify") or "[]")
    return found


def test_the_urls_of_a_job_replace_those_of_the_configuration(jdq: CommandLine) -> None:
    jdq.settings["JDQ_NOTIFY"] = "json://a  json://b"
    assert urls(jdq, jdq.submit("extract", jdq.file(), *EXTRACT)) == ["json://a", "json://b"]
    named = jdq.submit("extract", jdq.file(), *EXTRACT, "--notify", "json://c/d", "--notify", "json://e")
    assert urls(jdq, named) == ["json://c/d", "json://e"]
    jdq.settings.clear()
    assert urls(jdq, jdq.submit("extract", jdq.file(), *EXTRACT)) == []


@pytest.mark.parametrize("installed", [True, False])
def test_a_url_that_cannot_work_is_refused_without_printing_it(
    jdq: CommandLine, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "apprise", None)
    for url in ("nobody@secret", "jsn://secret") if installed else ("nobody@secret", "json://sec ret"):
        found = jdq.run("submit", "extract", jdq.file(), "--notify", url, code=2)
        assert "--notify: no notice can be sent to this" in found.stderr
    assert jdq.json("jobs") == []
    assert urls(jdq, jdq.submit("extract", jdq.file(), *EXTRACT, "--notify", "json://secret")) == ["json://secret"]


def test_secrets_in_urls_are_masked(jdq: CommandLine) -> None:
    jdq.settings["JDQ_NOTIFY"] = "slack://token/a mailto://me:pw@host"
    assert "slack://*** mailto://***" in jdq.run("config", "show").stdout
    jdq.settings["JDQ_NOTIFY"] = "slack://token/a nothing"
    found = jdq.run("config", "show", code=2)
    assert "it must be URLs, separated by spaces" in found.stderr
    assert "token" not in found.stderr
