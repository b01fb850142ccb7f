"""Exit codes: the same error ends every command and program with the same code."""

import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jdq.cli.main import cli
from jdq.worker.queue.exit_codes import _CODES, ExitCode, exit_on_error


@pytest.mark.parametrize("name", _CODES)
def test_every_error_with_a_code_exists(name: str) -> None:
    module, _, error = name.rpartition(".")
    kind = getattr(importlib.import_module(module), error)
    assert issubclass(kind, Exception)
    assert f"{kind.__module__}.{kind.__qualname__}" == name


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"JDQ_HOME": str(tmp_path), "JDQ_STORE": "", "JDQ_BROKER_URL": ""}


@pytest.mark.parametrize(
    "arguments",
    [
        ["heads", "show", "nope"],
        ["models", "export", "nope"],
        ["compare", "nope"],
        ["report", "nope"],
        ["predict", "text", "--head", "nope"],
        ["predict", "text", "--model", "nope"],
        ["store", "show", "nope"],
        ["store", "rm", "nope"],
        ["store", "compact", "nope"],
        ["store", "export", "nope", "--to", "x.npz"],
    ],
    ids=" ".join,
)
def test_an_unknown_name_ends_with_4(environment: dict[str, str], arguments: list[str]) -> None:
    run = CliRunner(env=environment)
    assert run.invoke(cli, ["heads", "ls"]).exit_code == ExitCode.SUCCEEDED  # makes the store
    assert run.invoke(cli, arguments).exit_code == ExitCode.UNKNOWN


def test_no_stack_ends_with_3_and_a_wrong_setting_with_2(environment: dict[str, str]) -> None:
    run = CliRunner(env=environment)
    assert run.invoke(cli, ["jobs"]).exit_code == ExitCode.NO_STACK
    assert run.invoke(cli, ["up"], env={"JDQ_BROKER_URL": "redis://h/0"}).exit_code == ExitCode.NO_STACK
    assert run.invoke(cli, ["jobs"], env={"JDQ_LEASE_S": "soon"}).exit_code == ExitCode.BAD_INPUT
    assert run.invoke(cli, ["predict", "text"]).exit_code == ExitCode.BAD_INPUT


def test_a_fault_of_jdqs_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_error():
        _ = 1 // 0


def test_an_interrupted_command_ends_with_130() -> None:
    with pytest.raises(SystemExit) as raised, exit_on_error():
        raise KeyboardInterrupt
    assert raised.value.code == ExitCode.INTERRUPTED


def test_errors_of_the_callers_own_have_the_codes_that_it_gives() -> None:
    @click.command()
    @exit_on_error({LookupError: ExitCode.FAILED})
    def command() -> None:
        raise KeyError("gone")

    ran = CliRunner().invoke(command)
    assert (ran.exit_code, ran.stderr) == (ExitCode.FAILED, "jdq: 'gone'\n")
