"""Tables and times: plain in a pipe, coloured and never truncated on a terminal."""

import io
import time

import pytest

from jdq.cli.output import ago, moment, print_table, say
from tests.cli.terminal import shown

COLUMNS = ["job", "state", "dataset"]
ROWS = [["extract-k3v9x2pq", "succeeded", "구인 공고"], ["fine-tune-7c2mhq4z", "failed (twice)", "-"]]


class Tty(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Tty:
    out = Tty()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return out


def test_a_pipe_gets_plain_aligned_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(COLUMNS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "job                 state           dataset",
        "extract-k3v9x2pq    succeeded       구인 공고",
        "fine-tune-7c2mhq4z  failed (twice)  -",
    ]


def test_states_have_colours_on_a_terminal_and_none_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on_terminal(monkeypatch, 80)
    print_table(COLUMNS, ROWS)
    assert "\x1b[32msucceeded" in out.getvalue()
    assert "\x1b[31mfailed (twice)" in out.getvalue()
    assert "\x1b[1mjob" in out.getvalue()
    out = on_terminal(monkeypatch, 80)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(COLUMNS, ROWS)
    assert "\x1b[3" not in out.getvalue()
    assert shown(out.getvalue(), columns=80)[0].split() == COLUMNS


def test_a_narrow_terminal_gets_a_paragraph_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on_terminal(monkeypatch, 30)
    print_table(COLUMNS, ROWS)
    assert shown(out.getvalue(), columns=30) == [
        "extract-k3v9x2pq",
        "  state succeeded, dataset",
        "  구인 공고",
        "fine-tune-7c2mhq4z",
        "  state failed (twice)",
    ]


def test_control_characters_of_a_cell_reach_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on_terminal(monkeypatch, 80)
    print_table(["name"], [["a\x1b[31mb"]])
    assert "\\x1b[31mb" in out.getvalue()


def test_text_is_wrapped_at_words_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("one two [three]")
    assert capsys.readouterr().out == "one two [three]\n"
    out = on_terminal(monkeypatch, 9)
    say("one two [three]")
    assert shown(out.getvalue(), columns=9) == ["one two", "[three]"]


@pytest.mark.parametrize(
    ("age", "said"), [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3_599, "59 min ago"), (7_200, "2 h ago")]
)
def test_a_recent_time_is_relative(age: int, said: str) -> None:
    assert ago(1_000_000 - age, 1_000_000) == said


def test_an_older_time_is_local_date_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    try:
        assert ago(0, 86_400) == "1970-01-01 09:00"
        assert moment(0) == "1970-01-01 09:00:00+09:00"
        assert ago(None, 0) == moment(None) == "-"
    finally:
        monkeypatch.undo()
        time.tzset()
