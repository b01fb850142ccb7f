"""The next command of an error has what the user typed; lists in errors are short."""

from pathlib import Path

import pytest

from jdq.store.table import TableOptions
from jdq.store.table.options import columns, rows, some

FILE = Path("my data.csv")
ALL = TableOptions(
    text_column=("title", "body text"),
    label_column="kind",
    encoding="cp949",
    delimiter="tab",
    quoting="none",
    skip_lines=2,
    header=False,
    nul="drop",
    sheet="2024",
    missing_labels="keep",
    empty_text="skip",
    unlabelled=True,
    command="jdq submit predict --head 'a b'",
    typed=("x.csv", "y z.csv"),
)
GIVEN = (
    "--text-column title --text-column 'body text' --label-column kind --encoding cp949 --delimiter tab --skip-lines 2 "
    "--nul drop --sheet 2024 --missing-labels keep --no-quotes --no-header --skip-empty --unlabelled"
)


def test_without_options_the_command_is_the_shortest() -> None:
    assert TableOptions().try_with(FILE, "--nul", "drop") == "\n  try: jdq submit extract 'my data.csv' --nul drop"


def test_each_option_that_was_given_is_kept() -> None:
    assert ALL.try_with(FILE) == f"\n  try: jdq submit predict --head 'a b' x.csv 'y z.csv' {GIVEN}"


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        (("--skip-lines", "3"), "--skip-lines 2 "),
        (("--text-column", "c"), "--text-column title --text-column 'body text' "),
        (("--no-header",), "--no-header "),
    ],
)
def test_what_is_suggested_replaces_what_was_given(words: tuple[str, ...], left_out: str) -> None:
    kept = GIVEN.replace(left_out, "")
    assert ALL.try_with(FILE, *words).endswith(f" x.csv 'y z.csv' {kept} {' '.join(words)}")


def test_an_option_that_the_command_lacks_is_left_out() -> None:
    options = TableOptions(unlabelled=True, can_be_unlabelled=False, empty_text="keep")
    assert options.try_with(FILE) == "\n  try: jdq submit extract 'my data.csv' --skip-empty"


def test_lists_are_short() -> None:
    assert some([]) == ""
    assert some(list(range(10))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert some(list(range(11))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"
    assert some([1, 2], 5) == "1, 2 and 3 more"
    assert some([1, 2], limit=1) == "1 and 1 more"
    assert (rows([7], 1), rows([7, 9], 2), rows([7, 9], 302)) == ("row 7", "rows 7, 9", "rows 7, 9 and 300 more")
    assert columns(["a", "b\n", *"c" * 39]) == "a, 'b\\n', " + ", ".join("c" * 38) + " and 1 more"
