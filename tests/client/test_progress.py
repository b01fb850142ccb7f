"""The progress of a job in a notebook, on a terminal, and in a pipe."""

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest

from jdq import Client
from tests.client.test_client import TEXTS


class Notebook:
    """What a notebook shows: a list of the contents of each output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outputs: list[list[str]] = []
        ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
        ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
        module.HTML, module.display = str, self.display  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", module)

    def display(self, content: str, *, display_id: bool) -> SimpleNamespace:
        assert display_id
        self.outputs.append([content])
        return SimpleNamespace(update=self.outputs[-1].append)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_notebook_shows_one_bar_that_ends_full(local: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    local._connection.quiet = False
    job = local.extract(TEXTS, encoder="hash:16").wait()
    [shown] = notebook.outputs
    assert 'max="1" value="1"' in shown[-1]
    assert f"{job.id}  succeeded, 60/60 texts" in shown[-1]
    job.result()
    assert len(notebook.outputs) == 1


def test_a_quiet_client_shows_nothing_in_a_notebook(local: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    local.extract(TEXTS, encoder="hash:16").wait()
    assert not notebook.outputs


def test_a_terminal_shows_the_bar_of_watch(local: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    job = local.extract(TEXTS, encoder="hash:16")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    job.wait(quiet=False)
    assert job.id in terminal.getvalue()


def test_a_pipe_gets_no_bar(local: Client, capsys: pytest.CaptureFixture[str]) -> None:
    local.extract(TEXTS, encoder="hash:16").wait(quiet=False)
    captured = capsys.readouterr()
    assert not captured.out
    assert not captured.err
