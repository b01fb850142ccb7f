"""The help is the manual: complete, not truncated, and whatever the messages advise exists."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jdq.cli.main import cli
from jdq.worker.queue.limits import PRIORITIES
from tests.conftest import PROJECT

SOURCES = sorted(path for part in ("cli", "worker", "store") for path in (PROJECT / part).rglob("*.py"))
# What follows `jdq` where a message or a docstring advises a command.
ADVICE = re.compile(r"(?:try: |then |`)jdq (.*?)(?=, then |`|$)", re.MULTILINE)


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        yield from walk(child, (*path, name))


COMMANDS = dict(walk(cli))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help_that_is_a_sentence(path: tuple[str, ...]) -> None:
    options = [parameter for parameter in COMMANDS[path].params if isinstance(parameter, click.Option)]
    for text in [COMMANDS[path].help, *(option.help for option in options)]:
        assert re.fullmatch(r"[A-Z].*\.(  \[default: .*\])?", (text or "").partition("\n\n")[0], re.DOTALL), text


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_summary_is_truncated_at_80_columns(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"], terminal_width=80)
    assert shown.exit_code == 0
    assert [line for line in shown.stdout.splitlines()[1:] if line.endswith("...")] == []


def test_the_sections_of_the_help_list_every_command_once() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    listed = re.findall(r"^  (\w+)  +[A-Z]", shown, re.MULTILINE)
    assert sorted(listed) == sorted(cli.commands)
    assert re.findall(r"^(\w+):$", shown, re.MULTILINE) == ["Options", "Submit", "Jobs", "Results", "Store", "Stack"]


def test_the_priorities_are_those_of_the_queue() -> None:
    option = next(each for each in COMMANDS["submit", "extract"].params if each.name == "priority")
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(PRIORITIES)


def texts(source: Path) -> Iterator[str]:
    """The string literals of a file; a placeholder of an f-string is `*`."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


EXAMPLES = {
    words for command in COMMANDS.values() for words in re.findall("^ *jdq (.*)$", command.help or "", re.MULTILINE)
}
ADVISED = sorted({words for source in SOURCES for text in texts(source) for words in ADVICE.findall(text)} | EXAMPLES)


def test_advice_is_found_in_messages_and_in_examples() -> None:
    assert {"up", "store gc", "*s ls", "status *"} <= set(ADVISED)
    assert "logs -f fine-tune-7c2mhq4z" in EXAMPLES


@pytest.mark.parametrize("advised", ADVISED)
def test_a_command_that_is_advised_exists_with_its_options(advised: str) -> None:
    commands: list[click.Command] = [cli]  # a word that the program fills in may name several
    words = advised.replace(",", " ").split()
    while (
        words
        and not words[0].startswith("-")
        and (groups := [each for each in commands if isinstance(each, click.Group)])
    ):
        commands = [child for group in groups for name, child in group.commands.items() if fnmatch(name, words[0])]
        assert commands, f"{words[0]!r} is no command of {' or '.join(str(group.name) for group in groups)}"
        words = words[1:]
    wanted = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    known = [{name for parameter in each.params for name in parameter.opts} | {"--help"} for each in commands]
    assert any(wanted <= options for options in known)
