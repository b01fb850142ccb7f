"""Clients of the Python API: in this process, and of a Redis whose workers work on request."""

from pathlib import Path

import pytest

from jdq import Client
from tests.jobs.conftest import Workplace, workplace

__all__ = ["workplace"]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Works in this process."""
    monkeypatch.setenv("JDQ_HOME", str(tmp_path / "home"))
    return Client.local(tmp_path / "local", quiet=True)


@pytest.fixture
def remote(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Submits to the workplace."""
    monkeypatch.setenv("JDQ_HOME", str(workplace.folder / "home"))
    settings = workplace.environment
    return Client(settings["JDQ_BROKER_URL"], store=settings["JDQ_STORE"], quiet=True)
