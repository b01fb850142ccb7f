"""The documentation says what the program does: generated parts are current, and what examples name exists."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.docs.generate import COMMAND, DOCS, PROJECT, commands, pages

WRITTEN = (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SHELL_SYNTAX = re.compile(r"^[|<>&;]+$")


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_what_a_page_takes_from_the_program_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], f"{path.name} is out of date; run: {COMMAND}"


def test_every_page_is_in_the_site_s_navigation() -> None:
    navigation = (PROJECT / "zensical.toml").read_text(encoding="utf-8")
    assert tomllib.loads(navigation)["project"]["docs_dir"] == "docs"
    listed = re.findall(r'"([\w/-]+\.md)"', navigation)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", [p for p in PROJECT.glob("*.md")], ids=lambda page: page.name)
def test_links_of_the_front_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (PROJECT / target).exists(), f"{page.name} links to {target}"


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """The page's fenced blocks in these languages; without a language a block is for the shell."""
    for _, language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield text


def jdq_commands(text: str) -> Iterator[list[str]]:
    """The arguments of each `jdq` in a block of shell commands; comments and what is printed are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        found = re.match(r"(?:\$ |\w+=\$\()?(?:.* (?:run --rm|&&) )?jdq (.*)", line)
        if not found:
            continue
        words = list(shlex.shlex(found.group(1).rstrip(")"), posix=True, punctuation_chars="|<>&;"))
        words = shlex.split(found.group(1).rstrip(")"), comments=True)
        stop = next((i for i, word in enumerate(words) if SHELL_SYNTAX.match(word)), len(words))
        yield words[:stop]


COMMANDS = {tuple(context.command_path.split()[1:]): context for context in commands()}
EXAMPLES = [
    pytest.param(words, id=f"{page.name}: jdq {' '.join(words)[:60]}")
    for page in WRITTEN
    for text in blocks(page, "", "text")
    if page.name != "cli.md"
    for words in jdq_commands(text)
]


@pytest.mark.parametrize("words", EXAMPLES)
def test_a_jdq_command_in_an_example_parses(words: list[str]) -> None:
    """The command exists, takes these options and as many arguments, and the options' values are of their types."""
    depth = max(n for n in range(len(words) + 1) if tuple(words[:n]) in COMMANDS)
    context = COMMANDS[tuple(words[:depth])]
    assert not isinstance(context.command, click.Group), f"no such command: jdq {' '.join(words)}"
    values, rest, _ = context.command.make_parser(context).parse_args(words[depth:])
    assert not rest, f"left over: {rest}"
    for parameter in context.command.params:
        value = values.get(parameter.name or "")
        if isinstance(parameter.type, click.Choice | click.types.IntParamType) and isinstance(value, str):
            parameter.type_cast_value(context, value)


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) > 30


def test_makefile_targets_and_settings_in_the_documentation_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    sources = [p for part in ("cli", "worker", "docker", "tests", "benchmarks") for p in (PROJECT / part).rglob("*")]
    sources += [PROJECT / "compose.yaml", PROJECT / "compose.override.yaml", PROJECT / ".ci" / "run"]
    settings = set()
    for path in sources:
        if path.suffix in (".py", ".yaml", "") and path.is_file():
            settings |= set(re.findall(r"JDQ_[A-Z_]+", path.read_text(encoding="utf-8", errors="replace")))
    for page in WRITTEN:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, page.name
        assert set(re.findall(r"\bJDQ_[A-Z_]+[A-Z]\b", text)) <= settings, page.name
