"""`jdq usage`: who used what, and what it costs."""

import re
from dataclasses import replace

import pytest

from jdq.cli.jobs.usage import used
from jdq.cli.trained.compare import flat, print_comparison
from jdq.worker.queue.contract import UnknownSpec
from tests.cli.conftest import CommandLine
from tests.cli.screens import COMPARISON
from tests.cli.test_progress import FINE_TUNE, JOB

MINE = replace(JOB, owner="alice", used_s=90.0, counts={"computed": 10, "tokens": 500})
JOBS = [
    MINE,
    replace(MINE, owner="bob", used_s=7200.0),
    replace(FINE_TUNE, owner="alice", used_s=3600.0, counts={}),
    replace(MINE, owner="alice", used_s=0.0, counts={"device_ms": 10_000, "computed": 1, "tokens": 2}),
    replace(MINE, owner="-", used_s=1.0, spec=UnknownSpec(problem="newer"), counts={}),
]


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("owner", [("bob", 1, 7200, 10, 500), ("alice", 3, 3700, 11, 502), ("-", 1, 1, 0, 0)]),
        ("kind", [("extract", 4, 7301, 21, 1002), ("fine-tune", 1, 3600, 0, 0)]),
        (
            "encoder",
            [("facebook/bart-base", 3, 7300, 21, 1002), ("facebook/bart-large", 1, 3600, 0, 0), ("-", 1, 1, 0, 0)],
        ),
        ("dataset", [("posts", 4, 10900, 21, 1002), ("-", 1, 1, 0, 0)]),
    ],
)
def test_what_jobs_used_is_added_up(by: str, rows: list[tuple[str, int, float, int, int]]) -> None:
    found = used(JOBS, by, 0.0)
    assert [(row.name, row.jobs, row.device_s, row.texts, row.tokens) for row in found] == rows
    assert {row.price for row in found} == {None}


def test_the_price_is_that_of_the_device_time() -> None:
    assert [row.price for row in used(JOBS, "owner", 2.5)] == pytest.approx([5.0, 3700 / 3600 * 2.5, 2.5 / 3600])


def test_the_usage_of_real_jobs(jdq: CommandLine) -> None:
    jdq.settings["JDQ_USER"] = "alice"
    jdq.extracted()
    [row] = jdq.json("usage")
    assert (row["name"], row["jobs"], row["texts"], row["price"]) == ("alice", 1, 40, None)
    assert row["tokens"] > 0
    assert 0 < row["device_s"] < 60
    assert jdq.json("usage", "--since", "2999-01-01") == []
    assert jdq.run("usage").stdout.split("\n")[0].split() == ["owner", "jobs", "device", "time", "texts", "tokens"]
    jdq.settings["JDQ_DEVICE_HOUR_PRICE"] = "3600"
    [priced] = jdq.json("usage", "--by", "kind")
    assert (priced["name"], priced["price"]) == ("extract", pytest.approx(priced["device_s"]))
    assert jdq.run("usage", "--by", "kind").stdout.split("\n")[0].endswith("tokens  price")


def test_a_comparison_has_the_price_of_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    row = COMPARISON.rows[0]
    assert flat(row)["price"] is None
    assert flat(row, 2.0)["price"] == pytest.approx((row.device_s or 0) / 1800)
    print_comparison(COMPARISON, 2.0)
    printed = capsys.readouterr().out
    assert re.search(r" tokens +reused +seed +price\n.+ 11,800 +826,000 +200 +0 +0\.06\n", printed)
    print_comparison(COMPARISON)
    assert " price" not in capsys.readouterr().out
