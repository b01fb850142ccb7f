"""The border where errors become exit codes and messages."""

import kombu.exceptions
import pytest
import redis

from jdq.store.errors import StoreError
from jdq.worker.queue.exit_codes import ExitCode, exit_on_error, plain_lines


class OwnError(Exception):
    """An error that only the caller knows."""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (redis.ConnectionError("gone"), 3, "jdq: the connection to Redis broke: gone\n  try: jdq workers\n"),
        (
            kombu.exceptions.OperationalError("gone"),
            3,
            "jdq: the connection to Redis broke: gone\n  try: jdq workers\n",
        ),
        (StoreError("no column 'a b'\n  try: c\x1b"), 2, "jdq: no column 'a b'\n  try: c\\x1b\n"),
        (OwnError("own"), 1, "jdq: own\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_ends_the_process_with_its_code_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_error({OwnError: ExitCode.FAILED}):
        raise error
    assert ended.value.code == code
    assert capsys.readouterr() == ("", said)


def test_each_code_says_what_it_means() -> None:
    assert [(code.value, code.meaning.split()[0]) for code in ExitCode] == [
        (0, "succeeded"),
        (1, "the"),
        (2, "wrong"),
        (3, "no"),
        (4, "unknown"),
        (130, "interrupted"),
    ]


def test_words_and_lines_stay_as_they_are() -> None:
    assert plain_lines("two words\n  and a line") == "two words\n  and a line"
