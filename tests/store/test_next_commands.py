"""Every command that an error of the store suggests exists, with its options."""

import errno
import shlex
from pathlib import Path

import click
import pytest

from jdq.cli.main import cli
from jdq.store.datasets import DamagedDataset, InvalidName, UnknownDataset, check_name
from jdq.store.errors import CannotWrite, DamagedShard, MissingFeatures, NotExtracted, StoreError, UnknownSpace
from jdq.store.table import TableOptions
from jdq.store.trained import UnknownTrained

TRY = "\n  try: "
OTHER_PROGRAMS = {"pip", "jq"}


def require_command(line: str) -> None:
    """Fail unless `line` is a command of jdq, with options that it has, or calls another known program."""
    program, *words = shlex.split(line)
    if program in OTHER_PROGRAMS:
        return
    assert program == "jdq", line
    command: click.Command = cli
    while isinstance(command, click.Group):
        following = command.get_command(click.Context(command), words.pop(0))
        assert following is not None, line
        command = following
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize(
    "error",
    [
        UnknownSpace("ab", ()),
        UnknownSpace("ab", ["cd"]),
        MissingFeatures("ab", (0,), ("00",), 3),
        MissingFeatures("ab", (0,), ("00",), 3, "shard x is damaged"),
        NotExtracted("posts", "ab"),
        DamagedShard(Path("x.h5"), "fact"),
        CannotWrite(Path("x.h5"), errno.ENOSPC, "No space left"),
        UnknownDataset("posts", ()),
        UnknownDataset("posts", ["other"]),
        UnknownDataset("posts", ["predict-new"]),
        DamagedDataset(Path("datasets/posts/ab"), "fact"),
        UnknownTrained("head", "x", ()),
        UnknownTrained("model", "x", ()),
        UnknownTrained("head", "x", ["y"]),
        UnknownTrained("model", "x", ["y"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_ends_with_a_command_that_exists(error: StoreError) -> None:
    require_command(str(error).split(TRY)[1])


def test_a_name_that_cannot_be_is_answered_with_one_that_can() -> None:
    with pytest.raises(InvalidName) as raised:
        check_name("Job Posts")
    command = str(raised.value).split(TRY)[1]
    require_command(command)
    assert check_name(command.split()[-1]) == "job-posts"


def test_a_tables_error_repeats_options_that_the_command_has() -> None:
    options = TableOptions(
        text_column="a",
        label_column="b",
        encoding="utf-8",
        delimiter="tab",
        quoting="none",
        missing_labels="keep",
        empty_text="skip",
        unlabelled=True,
    )
    line = options.try_with(Path("data.csv"))
    assert line.count("--") == 8
    require_command(line.removeprefix(TRY))


def test_a_disk_that_is_not_full_is_not_answered_with_gc() -> None:
    assert TRY not in str(CannotWrite(Path("x.h5"), errno.EACCES, "Permission denied"))
