"""`jdq watch` on a real terminal: the bar, the rate and the ETA are seen at every width, and Ctrl-C leaves the job."""

import json
import sys
import time

import pytest

from tests.cli.conftest import CommandLine
from tests.cli.terminal import Terminal

JDQ = (sys.executable, "-m", "jdq.cli")


def running(jdq: CommandLine) -> str:
    """The id of a job that is half done: 20 of 40 texts in two seconds of computing."""
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    counts = {"texts_total": 40, "texts_done": 20, "computed": 20, "tokens": 2000, "device_ms": 2000}
    estimates = {"estimated_tokens": 4400, "estimated_done": 2200}
    started = int(1000 * (time.time() - 60))
    facts = {"state": "running", "started": started, "chunks_total": 3, "chunks_done": 2}
    for name, value in {**facts, **{f"count:{name}": n for name, n in (counts | estimates).items()}}.items():
        jdq.workplace.client.hset(f"jdq:job:{job}", name, str(value))
    return job


@pytest.mark.parametrize("columns", [60, 80, 100, 140, 200])
def test_the_bar_the_rates_and_the_eta_are_seen_and_ctrl_c_says_how_to_come_back(
    jdq: CommandLine, columns: int
) -> None:
    job = running(jdq)
    with Terminal([*JDQ, "watch", job], jdq.workplace.environment, columns=columns) as terminal:
        terminal.wait_for("tokens/s")
        terminal.wait_for("ETA 2.0 s")
        bar, *below = terminal.lines
        assert bar.startswith(f"{job} ━")
        assert bar.endswith(" 50% ETA 2.0 s")
        text = " ".join(" ".join(below).split())
        assert text == "running, 20/40 texts, 20 computed, 0 reused, 10.0 texts/s, 1,000 tokens/s"
        terminal.send("\x03")
        assert terminal.wait_for_end() == 130
        said = terminal.text
        assert (
            f"\njob {job} continues\n  to watch it again: jdq watch {job}\n  to end it: jdq cancel {job}\n"
            in f"\n{said}"
        )
    assert jdq.json("status", job)["state"] == "running"


def test_json_is_a_line_for_each_change(jdq: CommandLine) -> None:
    job = running(jdq)
    with Terminal([*JDQ, "watch", job, "--json"], jdq.workplace.environment, columns=4000) as terminal:
        terminal.wait_for('"texts_done":20')
        jdq.workplace.client.hset(f"jdq:job:{job}", "count:texts_done", 30)
        terminal.wait_for('"texts_done":30')
        jdq.run("cancel", job)
        assert terminal.wait_for_end() == 1
        changes = [json.loads(line) for line in terminal.lines if line]
    assert [(change["texts_done"], change["state"]) for change in changes] == [
        (20, "running"),
        (30, "running"),
        (30, "cancelled"),
    ]
