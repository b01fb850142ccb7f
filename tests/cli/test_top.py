"""`jdq top`: keys, scrolling, reasons and history; into a pipe it prints once and ends."""

import subprocess
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console

from jdq.cli.jobs.board import Board
from jdq.cli.jobs.overview import Overview, Throughput, queue_line, sparkline, tokens_of, totals
from jdq.worker.queue.contract import JobState
from jdq.worker.queue.records import Job
from tests.cli.conftest import CommandLine
from tests.cli.screens import JOBS, MEMORY, RUNNING, WORKERS, Tty
from tests.cli.terminal import Terminal, shown
from tests.cli.test_watch import JDQ


class Asked(list[str]):
    """The jobs that were asked for."""

    def logs(self, job: str) -> list[str]:
        self.append(job)
        return [f"line {n} of {job}" for n in range(50)]


def board(jobs: list[Job], cancelled: list[str] | None = None, asked: Asked | None = None) -> Board:
    made = Board(
        cancel=(cancelled if cancelled is not None else []).append, logs=(Asked() if asked is None else asked).logs
    )
    made.overview = Overview(jobs=jobs, workers=WORKERS)
    return made


def text(made: Board, width: int = 140, height: int = 30) -> list[str]:
    out = Tty()
    Console(file=out, width=width, height=height).print(made.frame(width, height))
    return shown(out.getvalue(), columns=width)


def many(number: int) -> list[Job]:
    return [replace(RUNNING, id=f"extract-{n:08}", created=float(-n)) for n in range(number)]


def visible(made: Board, width: int = 140, height: int = 30) -> list[int]:
    return [int(line[8:16]) for line in text(made, width, height) if line.startswith("extract-0")]


def test_any_number_of_jobs_can_be_reached() -> None:
    made = board(many(1_000))
    first = visible(made)
    assert first[:2] == [0, 1]
    assert len(text(made)) <= 30
    made.press("page down")
    assert visible(made)[-1] == len(first)
    made.press("end")
    assert visible(made)[-1] == 999
    made.press("up")
    assert visible(made)[-1] == 999
    made.press("home")
    assert visible(made) == first
    made.press("k")
    assert visible(made) == first


def test_fewer_jobs_than_before_are_shown_from_the_first() -> None:
    made = board(many(100))
    made.frame(140, 30)
    made.press("end")
    made.overview = Overview(jobs=many(3), workers=[])
    assert visible(made) == [0, 1, 2]
    made.overview = Overview(jobs=[], workers=[])
    assert "no jobs" in text(made)[0]
    made.press("down")
    made.press("l")


def test_a_job_is_cancelled_once_the_question_is_answered() -> None:
    cancelled: list[str] = []
    made = board(JOBS, cancelled)
    made.frame(140, 30)
    made.press("c")
    assert text(made)[-1] == f"cancel {RUNNING.id}? y/n"
    made.press("n")
    assert (cancelled, made.finished) == ([], False)
    made.press("c")
    made.press("y")
    assert cancelled == [RUNNING.id]
    made.press("y")
    assert cancelled == [RUNNING.id]


def test_the_question_names_the_owner() -> None:
    made = board([replace(job, owner="bob") for job in JOBS])
    made.frame(140, 30)
    made.press("c")
    assert text(made)[-1] == f"cancel {RUNNING.id} of bob? y/n"


def test_the_log_of_the_selected_job_is_shown_until_any_key() -> None:
    asked = Asked()
    made = board(JOBS, asked=asked)
    made.frame(140, 30)
    made.press("l")
    lines = text(made)
    assert (asked, len(lines)) == ([RUNNING.id], 30)
    assert lines[-2:] == [f"line 49 of {RUNNING.id}", "any key returns"]
    made.press("q")
    assert not made.finished
    assert "queue" in text(made)[1]
    made.press("q")
    assert made.finished


def test_jobs_are_sorted_by_each_order_in_turn() -> None:
    made = board(JOBS)
    firsts = []
    for _ in range(4):
        rows = [line.split()[0] for line in text(made) if line.startswith(("extract-", "fine-tune-"))]
        firsts.append((text(made)[-1].rpartition(" ")[2], rows[0]))
        made.press("s")
    assert firsts == [
        ("state", "extract-k3v9x2pq"),
        ("newest", "extract-wait2345"),
        ("dataset", "extract-wait2345"),
        ("longest", "fine-tune-7c2mhq4z"),
    ]


def test_the_reason_of_a_failure_is_whole_below_and_a_lost_server_is_said() -> None:
    made = board(JOBS)
    made.frame(60, 30)
    made.press("end")
    assert "the GPU has too little memory for one text" in text(made, 60)
    made.problem = "no answer from Redis: gone"
    assert text(made, 60)[-1] == "no answer from Redis: gone"


def test_what_is_wider_than_the_terminal_continues_on_the_next_line() -> None:
    reason = "the disk of the store 저장소 is full: " + "x" * 70
    jobs = [replace(job, error=replace(MEMORY, message=reason)) for job in many(30)]
    for width in (30, 45, 60):
        lines = text(board(jobs), width, 60)
        assert len(lines) <= 60
        assert max(map(cell_len, lines)) <= width
        joined = "".join("".join(lines).split())
        assert joined.count("".join(reason.split())) > 2
        assert "97%GPU" not in joined
        assert "".join(WORKERS[0].device[:39].split()) in joined


def test_the_selected_job_is_visible_whatever_the_lines_of_the_others() -> None:
    jobs = [replace(job, error=replace(MEMORY, message="long " * 40)) for job in many(20)]
    made = board(jobs)
    for key, first in (("end", 19), ("page up", None), ("home", 0), ("page down", None)):
        made.press(key)
        assert len(text(made, 60, 24)) <= 24
        seen = visible(made, 60, 24)
        assert seen and (first is None or first in seen)


def test_a_long_log_line_and_a_long_reason_are_whole_or_say_where_they_are() -> None:
    made = board([replace(RUNNING, error=replace(MEMORY, message="\n".join(map(str, range(50)))))])
    assert f"full reason: jdq status {RUNNING.id}" in text(made)
    made._logs = lambda job: ["y" * 150]
    made.press("l")
    assert text(made, 60) == ["y" * 60, "y" * 60, "y" * 30, "any key returns"]


def test_more_workers_than_fit_are_counted() -> None:
    made = board(JOBS)
    made.overview = Overview(jobs=JOBS, workers=[replace(WORKERS[0], name=f"gpu-{n}") for n in range(50)])
    lines = text(made, height=24)
    assert "and 42 more" in lines
    assert len(lines) <= 24


def test_throughput_is_tokens_between_two_readings() -> None:
    throughput = Throughput()
    for at, tokens in ((0.0, 100), (2.0, 300), (2.0, 400), (3.0, 50)):
        throughput.add(at, tokens)
    assert list(throughput.history) == [100.0, 0.0]
    assert tokens_of(JOBS) == 430_000


def test_a_sparkline_is_as_high_as_its_greatest_value() -> None:
    assert sparkline([0, 50, 100], 10) == "▁▅█"
    assert sparkline([1, 2, 3], 2) == "▆█"
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([], 5) == ""


def test_a_queue_counts_the_chunks_of_jobs_that_have_not_ended() -> None:
    overview = Overview(jobs=JOBS, workers=[*WORKERS, replace(WORKERS[0], state="dead")])
    assert queue_line("gpu", overview) == "gpu queue: 9 chunks pending, 3 leased; 1 of 3 workers busy"
    assert queue_line("cpu", overview) == "cpu queue: 0 chunks pending, 0 leased; 0 of 0 workers busy"
    assert totals([replace(RUNNING, state=JobState.CANCELLED)]) == "1 cancelled"


def test_into_a_pipe_it_prints_once_and_ends(jdq: CommandLine) -> None:
    job = jdq.extracted()
    finished = subprocess.run(
        [*JDQ, "top"], env=jdq.workplace.environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert job in finished.stdout
    assert "\x1b" not in finished.stdout
    assert finished.stdout.splitlines()[0] == "1 succeeded"


def test_keys_work_on_a_real_terminal(jdq: CommandLine) -> None:
    job = jdq.submit("extract", jdq.file(), "--encoder", "hash:16")
    with Terminal([*JDQ, "top"], jdq.workplace.environment, columns=100) as terminal:
        terminal.wait_for("1 queued")
        terminal.send("l")
        terminal.wait_for("no log lines yet")
        terminal.send("\x1b")
        terminal.wait_for("q quit")
        terminal.send("c")
        terminal.wait_for(f"cancel {job} of ")
        terminal.send("y")
        terminal.wait_for("1 cancelled")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
    assert jdq.json("status", job)["state"] == "cancelled"
