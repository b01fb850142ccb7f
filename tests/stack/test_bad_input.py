"""Wrong input is rejected immediately, with the file, the rows and the next command; nothing is left behind."""

from pathlib import Path

import pytest

from tests.stack.conftest import Stack

GOOD = "text,label\nWe need a nurse.,care\nDrive at night.,road\n"


def left_behind(stack: Stack) -> tuple[int, list[str]]:
    """Jobs in the queue, and files in the store."""
    store = stack.home / "store"
    return len(stack.json("jobs", "--limit", "1000")), sorted(str(path) for path in store.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, [], ["no such file"]),
        ("", [], ["empty"]),
        ("text,label\n", [], ["no rows"]),
        (GOOD, ["--text-column", "body"], ["body", "text, label", "try: jdq submit extract"]),
        (GOOD, ["--label-column", "class"], ["class", "text, label", "try: jdq submit extract"]),
        ("a,b,c\n1,2,3\n4,5,6\n", [], ["a, b, c", "--text-column"]),
        ("text,label\nfine,a\n,b\n  ,c\nok,b\n", [], ["no text", "rows 2, 3", "--skip-empty"]),
        ("text,label\nfine,a\nwell,\nok,b\n", [], ["row 2", "label"]),
        ("text,label\nfine,a\nwell,a\n", [], ["one class"]),
    ],
)
def test_a_file_that_cannot_be_used_is_rejected_before_anything_is_stored(
    shared_stack: Stack,
    tmp_path: Path,
    content: str | None,
    options: list[str],
    words: list[str],
) -> None:
    file = tmp_path / "data.csv"
    if content is not None:
        file.write_text(content)
    before = left_behind(shared_stack)
    error = shared_stack.run("submit", "extract", str(file), "--encoder", "hash:8", *options, code=2).stderr
    assert str(file) in error
    for word in words:
        assert word in error
    assert left_behind(shared_stack) == before


def test_a_missing_stack_is_reported_before_anything_is_imported(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", {})
    file = tmp_path / "data.csv"
    file.write_text(GOOD)
    assert "try: jdq up" in stack.run("submit", "extract", str(file), code=3).stderr
    assert not (stack.home / "store").exists()


def test_an_unknown_job_is_an_error_of_its_own(shared_stack: Stack) -> None:
    for command in ("status", "watch", "result", "cancel"):
        assert "no job has the id 'extract-nosuchid'" in shared_stack.run(command, "extract-nosuchid", code=4).stderr
    assert "no head has the id" in shared_stack.run("predict", "text", "--head", "train-head-none", code=4).stderr


def test_a_head_needs_a_dataset_and_its_features(shared_stack: Stack) -> None:
    assert "nothing-here" in shared_stack.run("submit", "train-head", "nothing-here", code=4).stderr
    assert "no head 'logrug'" in shared_stack.run("submit", "train-head", "--head", "logrug", code=2).stderr
    assert "NAME=VALUE" in shared_stack.run("submit", "train-head", "--param", "C", code=2).stderr


def test_an_unlabelled_table_is_extracted_and_trains_no_head(shared_stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "unlabelled.csv"
    file.write_text("text\nWe need a nurse.\nDrive at night.\n")
    shared_stack.run("submit", "extract", str(file), "--encoder", "hash:8", "--wait")
    assert "without a label column" in shared_stack.run("submit", "train-head", "unlabelled", code=2).stderr
