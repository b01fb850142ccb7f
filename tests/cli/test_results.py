"""What is printed of a result."""

from dataclasses import replace

import pytest

from jdq.cli.jobs.results import print_result
from jdq.worker.queue.contract import JobState
from tests.cli.test_progress import JOB

RESULT = {
    "dataset": "posts",
    "version": "0" * 12,
    "rows": 10,
    "dim": 8,
    "encoder": "e",
    "space": "s",
    "precision": "float32",
    "max_length": 4,
}


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        # Texts of 130 unknown tokens in a row, truncated to 100.
        ({"tokens": 100, "unknown_tokens": 130, "tokens_before_truncation": 260}, "50.0%"),
        ({"tokens": 100, "unknown_tokens": 130}, "100.0%"),
        ({"tokens": 100, "unknown_tokens": 1}, None),
        ({"tokens": 0, "unknown_tokens": 0}, None),
    ],
)
def test_unknown_tokens_are_a_share_of_all(
    counts: dict[str, int], share: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(replace(JOB, state=JobState.SUCCEEDED, ended=20, result=RESULT, counts=counts))
    warned = capsys.readouterr().err
    assert warned == "" if share is None else f"does not know {share} of the tokens" in warned
