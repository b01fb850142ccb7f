"""Where errors become messages and exit codes: one line on stderr, no traceback, nothing on stdout."""

import datetime
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jdq.cli.main import cli
from jdq.cli.output import clock, duration, print_table
from jdq.worker.queue.contract import PROTOCOL
from tests.cli.conftest import CommandLine
from tests.conftest import PROJECT


def run(home: Path, *arguments: str, **settings: str) -> Result:
    return CliRunner().invoke(cli, arguments, env={"JDQ_HOME": str(home), "JDQ_BROKER_URL": None, **settings})


@pytest.mark.parametrize("command", [("jobs",), ("workers",), ("status", "x"), ("submit", "train-head"), ("top",)])
def test_no_redis_is_said_with_what_to_do(tmp_path: Path, command: tuple[str, ...]) -> None:
    found = run(tmp_path, *command)
    assert found.exit_code == 3
    assert found.stdout == ""
    assert found.stderr.startswith("jdq: ")
    assert "try: " in found.stderr
    assert "Traceback" not in found.output


def test_nothing_is_imported_for_a_queue_that_does_not_answer(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("text,label\nx,a\ny,b\n")
    assert run(tmp_path / "home", "submit", "extract", str(file)).exit_code == 3
    assert not (tmp_path / "home" / "store" / "datasets").exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("encoder = ", "cannot be read"),
        ('encodr = "x"\n', "encodr"),
        ('lease_s = "soon"\n', "soon"),
        ('log_format = "xml"\n', "must be one of"),
        ("lease_s = 10\nheartbeat_s = 9\n", "three times"),
    ],
)
def test_a_wrong_configuration_file_names_the_fault(tmp_path: Path, content: str, word: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    found = run(tmp_path, "jobs")
    assert found.exit_code == 2
    assert word in found.stderr


@pytest.mark.parametrize("arguments", [("nonsense",), ("jobs", "--limit", "0"), ("status",), ("submit", "extract")])
def test_a_command_that_is_written_wrong_exits_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    found = run(tmp_path, *arguments)
    assert found.exit_code == 2
    assert "Usage: " in found.stderr


def test_ctrl_c_ends_with_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jdq.cli.client.read_config", interrupted)
    assert run(tmp_path, "jobs").exit_code == 130


def test_a_fault_of_jdqs_own_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("jdq.cli.client.read_config", faulty)
    found = run(tmp_path, "jobs")
    assert isinstance(found.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.44, "0.4 s"),
        (9.96, "10.0 s"),
        (10, "10 s"),
        (99.4, "99 s"),
        (100, "1 min 40 s"),
        (200, "3 min 20 s"),
        (5_999, "99 min 59 s"),
        (6_000, "1 h 40 min"),
        (7_500, "2 h 05 min"),
    ],
)
def test_spans_are_written_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_moment_is_local_time_with_its_offset() -> None:
    assert clock(None) == "-"
    shown = clock(1_700_000_000)
    assert datetime.datetime.fromisoformat(shown).timestamp() == 1_700_000_000


def test_tables_are_aligned_and_have_no_space_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a", "long name"], [["wide cell", "x"], ["y", ""]])
    assert capsys.readouterr().out == "a          long name\nwide cell  x\ny\n"


ESCAPE = "\x1b[31m\x9b2J\x07"


def test_labels_and_names_with_escape_sequences_never_reach_the_terminal(jdq: CommandLine) -> None:
    rows = "".join(f"text number {n} of {'ab'[n % 2]},{ESCAPE}{'ab'[n % 2]}\n" for n in range(40))
    file = jdq.file(f"text,the {ESCAPE}label\n{rows}", f"{ESCAPE}.csv")
    options = ("--label-column", f"the {ESCAPE}label", "--name", "hostile")
    extraction = jdq.submit("extract", file, "--encoder", "hash:16", *options)
    assert jdq.workplace.worked(extraction).state == "succeeded"
    head = jdq.submit("train-head", "hostile")
    assert jdq.workplace.worked(head).state == "succeeded"
    heartbeat = jdq.workplace.runtime("cpu", f"w{ESCAPE}").ledger.heartbeat
    heartbeat({"queue": "cpu", "device": ESCAPE, "protocol": PROTOCOL, "version": ESCAPE})
    jdq.workplace.jobbook.settle_precision(ESCAPE)
    commands: list[tuple[str, ...]] = [
        ("status", head),
        ("result", head),
        ("heads", "show", head),
        ("heads", "ls"),
        ("compare", "hostile"),
        ("store", "ls"),
        ("store", "show", "hostile"),
        ("workers",),
        ("config", "show"),
        ("top", "--once"),
        ("jobs",),
        ("submit", "extract", file, "--encoder", "hash:16", "--label-column", "nowhere"),
        ("submit", "extract", file, "--encoder", "hash:16", *options),
    ]
    for command in commands:
        ran = jdq.run_to_any_end(*command)
        assert not set("\x1b\x9b\x07") & set(ran.output), (command, ran.output)


def test_only_one_function_prints_for_people() -> None:
    sources = {path.name: path.read_text() for path in (PROJECT / "cli" / "jdq" / "cli").rglob("*.py")}
    prints = re.compile(r"click\.s?echo\(|^ *print\(", re.MULTILINE)
    printing = {name for name, source in sources.items() if prints.search(source)}
    assert printing == {"output.py", "supervisor.py"}  # the supervisor writes to its log
