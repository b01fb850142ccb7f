"""The documentation says what the program does: generated parts are current, and what examples name exists."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from jdq.store import text_keys
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.heads.files import save_head
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.split import make_split
from jdq.worker.heads.train import train_head
from tests.docs.generate import COMMAND, DOCS, PROJECT, commands, pages
from tests.store.fake_datasets import extract_texts, import_texts, write_store
from tests.store.fake_features import sentences

WRITTEN = (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_what_a_page_takes_from_the_program_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], f"{path.name} is out of date; run: {COMMAND}"


def test_every_page_is_in_the_site_s_navigation() -> None:
    navigation = (PROJECT / "zensical.toml").read_text(encoding="utf-8")
    assert tomllib.loads(navigation)["project"]["docs_dir"] == "docs"
    listed = re.findall(r'"([\w/-]+\.md)"', navigation)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", sorted(PROJECT.glob("*.md")), ids=lambda page: page.name)
def test_links_of_the_front_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (PROJECT / target).exists(), f"{page.name} links to {target}"


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """The page's fenced blocks in these languages, each with the number of the line before it."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        if block[2] in languages and not block[3]:
            yield text.count("\n", 0, block.start(4)), block[4]


def test_every_block_names_its_language() -> None:
    """sh, console and python are checked below, those with a title in test_job_kind; the others are no examples."""
    for page in WRITTEN:
        languages = {block[2] for block in FENCE.finditer(page.read_text(encoding="utf-8"))}
        assert languages <= {"sh", "console", "python", "diff", "text", "ini", "toml"}, page.name


def jdq_commands(text: str) -> Iterator[list[str]]:
    """The arguments of each `jdq` in a block of shell commands, less comments and redirections."""
    for line in text.splitlines():
        if found := re.match(r"(?:\$ |\w+=\$\(|docker compose run --rm )?jdq (.*)", line):
            words = shlex.split(found.group(1).rstrip(")"), comments=True)
            yield words[: words.index(">")] if ">" in words else words


COMMANDS = {tuple(context.command_path.split()[1:]): context for context in commands()}
EXAMPLES = [
    pytest.param(words, id=f"{page.name}: jdq {' '.join(words)[:60]}")
    for page in WRITTEN
    for _, text in blocks(page, "sh", "console")
    for words in jdq_commands(text)
]


@pytest.mark.parametrize("words", EXAMPLES)
def test_a_jdq_command_in_an_example_parses(words: list[str]) -> None:
    """The command exists, takes these options and as many arguments, and the options' values are of their types."""
    depth = max(n for n in range(len(words) + 1) if tuple(words[:n]) in COMMANDS)
    context = COMMANDS[tuple(words[:depth])]
    is_command = not isinstance(context.command, click.Group) or context.command.invoke_without_command
    assert is_command, f"no such command: jdq {' '.join(words)}"
    values, rest, _ = context.command.make_parser(context).parse_args(words[depth:])
    assert not rest, f"left over: {rest}"
    for parameter in context.command.params:
        value = values.get(parameter.name or "")
        if isinstance(parameter.type, click.Choice | click.types.IntParamType) and isinstance(value, str):
            parameter.type_cast_value(context, value)


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) > 40


@pytest.mark.parametrize("page", [p for p in WRITTEN if list(blocks(p, "python"))], ids=lambda page: page.name)
def test_the_python_examples_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JDQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JDQ_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    names = surroundings(tmp_path)
    for line, text in blocks(page, "python"):
        # Blank lines in front, so that a traceback tells the line of the page.
        exec(compile("\n" * line + text, str(page), "exec"), names)


def surroundings(folder: Path) -> dict[str, object]:
    """What examples take for given: two datasets with features, a shard's path, a head and its features, an encoder."""
    store, _, space = write_store(folder / "store", sentences(300))
    extract_texts(store, import_texts(store, sentences(30), name="postings"))
    X, y, _ = store.load("posts")
    head = train_head(X, y, make_split(y, text_keys(list(map(str, range(len(y)))))), HeadOptions())
    (folder / "head.safetensors").write_bytes(save_head(head))
    make_tiny_bart(folder / "tiny", dim=32, layers=1)
    return {"path": next((space.path / "shards").glob("*.h5")), "features": np.asarray(X)}


SOURCES = [
    *(
        path
        for part in ("cli", "worker", "store", "docker", "tests", "benchmarks")
        for path in (PROJECT / part).rglob("*")
    ),
    *(PROJECT / name for name in ("compose.yaml", "compose.override.yaml", ".env.example", ".ci/run", "Makefile")),
]
TEXTS = {
    path: path.read_text(encoding="utf-8", errors="replace")
    for path in SOURCES
    if path.is_file() and path.suffix in (".py", ".lua", ".yaml", ".example", "")
}


def test_files_targets_and_settings_in_the_documentation_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", TEXTS[PROJECT / "Makefile"], re.MULTILINE))
    settings = {name for text in TEXTS.values() for name in re.findall(r"JDQ_[A-Z_]+", text)}
    for page in WRITTEN:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`(?:\w+ )?((?:cli|worker|store|tests|docker|benchmarks|demo)/[\w./-]+)", text):
            assert (PROJECT / path).exists(), f"{page.name} names {path}"
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, page.name
        assert set(re.findall(r"\bJDQ_[A-Z_]+[A-Z]\b", text)) <= settings, page.name


def test_pages_that_the_sources_refer_to_exist() -> None:
    for source, text in TEXTS.items():
        for path in re.findall(r"\bdocs/[\w/-]+\.md", text):
            assert (PROJECT / path).is_file(), f"{source.relative_to(PROJECT)} refers to {path}"
