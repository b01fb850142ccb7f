"""Screens from fixed data, as a terminal shows them: ``python -m tests.cli.screens`` writes them to `screens/`."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import msgspec
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from jdq.cli.client import Client
from jdq.cli.jobs import commands as jobs
from jdq.cli.jobs.bar import JobBar
from jdq.cli.jobs.board import Board
from jdq.cli.jobs.overview import Overview
from jdq.cli.stack import commands as stack
from jdq.cli.trained.compare import print_comparison as print_comparison
from jdq.worker.queue.contract import PROTOCOL, JobState
from jdq.worker.queue.jobbook import UnknownJob
from jdq.worker.queue.records import Job, JobError, Worker
from jdq.worker.report.comparison import Comparison
from jdq.worker.report.comparison_row import ComparisonRow
from jdq.worker.report.paired import Paired
from jdq.worker.report.setting import TestSetting
from tests.cli.terminal import shown
from tests.cli.test_progress import EXTRACT, FINE_TUNE, JOB

FOLDER = Path(__file__).parent / "screens"
WIDTHS = (60, 80, 100, 140, 200)
HEIGHT = 30
NOW = 1_770_000_000.0
MEMORY = JobError(type="TooLittleMemory", message="the GPU has too little memory for one text\n  try: --max-length 512")

RUNNING = replace(
    JOB,
    created=NOW - 200,
    started=NOW - 190,
    read_at=NOW,
    counts={
        "texts_total": 12_000,
        "texts_done": 4_200,
        "reused": 200,
        "computed": 4_000,
        "tokens": 400_000,
        "device_ms": 100_000,
        "estimated_tokens": 1_200_000,
        "estimated_done": 400_000,
    },
    live=[{"texts": 300, "tokens": 30_000, "device_s": 7.5, "chunk_tokens": 60_000, "chunk_estimated": 60_000}],
    workers=["gpu-1@node"],
    log=[{"at": 1000 * (NOW - 100), "reason": "the lease expired", "chunk": 3, "attempt": 1}],
)
JOBS = [
    RUNNING,
    replace(JOB, id="extract-wait2345", state=JobState.QUEUED, created=NOW - 30, started=None, counts={}, workers=[]),
    replace(
        FINE_TUNE,
        id="fine-tune-7c2mhq4z",
        created=NOW - 7300,
        started=NOW - 7200,
        read_at=NOW,
        live=[{"phase": "train", "epoch": 1.5, "epochs": 3, "step": 150, "steps": 300, "loss": 0.1234, "eta_s": 7200}],
        counts={},
    ),
    replace(
        JOB,
        id="extract-f4i5l6ed",
        state=JobState.FAILED,
        spec=msgspec.structs.replace(EXTRACT, dataset="구인-공고"),
        created=NOW - 7500,
        started=NOW - 7400,
        ended=NOW - 7310,
        counts={"texts_total": 400, "texts_done": 120, "computed": 120},
        workers=[],
        error=MEMORY,
    ),
]
WORKERS = [
    Worker(
        name=f"gpu-{n}@node",
        state=state,
        queue="gpu",
        host="node",
        pid=4000 + n,
        device=f"cuda NVIDIA H100 80GB HBM3 GPU-8e1f{n}c52-94ab-4d07-b3c6-5f1d20a97e8{n}",
        job=job,
        last_seen=NOW - 1,
        started=NOW - 4000,
        version="0.1.0",
        protocol=PROTOCOL,
        tokens_per_s=4_000,
        reason=reason,
    )
    for n, (state, job, reason) in enumerate(
        [
            ("busy", "extract-k3v9x2pq", None),
            ("idle", None, None),
            ("sick", None, "its features are not those of others"),
        ]
    )
]


def row(name: str, head: str, macro_f1: float, *, why: str = "", behind: float = 0.0) -> ComparisonRow:
    """A row of `compare` with this macro-F1."""
    scores = {"accuracy": macro_f1 + 0.01, "f1": macro_f1, "macro_f1": macro_f1, "roc_auc": max(0.5, macro_f1 + 0.05)}
    return ComparisonRow(
        id=head,
        name=name,
        encoder="facebook/bart-base",
        setting=TestSetting(dataset_version="0123456789ab", label_column="function", split="89abcdef"),
        why=why,
        metrics={
            **scores,
            "precision": macro_f1,
            "recall": macro_f1,
            "log_loss": 0.431,
            "calibration_error": 0.052,
        },
        intervals={name: (value - 0.02, value + 0.02) for name, value in scores.items()},
        trained_rows=9_600,
        test_rows=1_200,
        seed=0,
        wall_time_s=12.5,
        device="cuda",
        device_s=104.0,
        computed=11_800,
        tokens=826_000,
        reused=200,
        created_at="2026-01-31T12:00:00+00:00",
        pooling="cls",
        precision="bfloat16",
        details=("C=1.0", "calibrated") if name == "auto" else (),
        against_best=Paired(difference=-behind, low=-behind - 0.016, high=-behind + 0.016, p_value=0.031)
        if behind
        else None,
    )


COMPARISON = Comparison(
    dataset="postings",
    reference=TestSetting(dataset_version="0123456789ab", label_column="function", split="89abcdef"),
    rows=[
        row("fine-tune", "fine-tune-7c2mhq4z", 0.912),
        row("auto", "train-head-7kq2m9xw", 0.887, behind=0.025),
        row("mlp", "train-head-b4w6n8pq", 0.85, why="label column 'kind'"),
    ],
    unreadable=[],
    baselines=[
        replace(
            row("tf-idf", "baseline", 0.82, behind=0.092), encoder="", device_s=0.0, computed=0, tokens=0, reused=0
        ),
        replace(
            row("majority", "baseline", 0.1, behind=0.812), encoder="", device_s=0.0, computed=0, tokens=0, reused=0
        ),
    ],
)


class FixedBook:
    """A job book of the fixed jobs and workers."""

    def ids(self, *, since: float | None = None) -> list[str]:
        return [job.id for job in JOBS]

    def jobs(self, *, since: float | None = None) -> list[Job]:
        return JOBS

    def newest(self, *, since: float | None = None, start: int = 0, owner: str | None = None) -> Iterator[Job]:
        return iter(self.jobs(since=since))

    def job(self, job: str) -> Job:
        found = [each for each in JOBS if each.id == job]
        if not found:
            raise UnknownJob(job)
        return found[0]

    def read(self, ids: Sequence[str]) -> list[Job]:
        return [job for job in JOBS if job.id in ids]

    def workers(self) -> list[Worker]:
        return WORKERS

    def precision(self) -> str | None:
        return "bfloat16"


class Tty(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(columns: int) -> Iterator[Tty]:
    """Standard output is a terminal of this width, and the job book the fixed one."""
    out = Tty()
    environment = {"COLUMNS": str(columns), "LINES": str(HEIGHT), "TERM": "xterm-256color"}
    clock = SimpleNamespace(time=lambda: NOW)
    with (
        patch.dict(os.environ, environment),
        patch.object(Client, "jobbook", FixedBook()),
        patch("jdq.cli.output.time", clock),
        redirect_stdout(out),
    ):
        os.environ.pop("NO_COLOR", None)
        yield out


def rendered(view: Callable[[int], RenderableType], columns: int) -> str:
    """What rich writes for this."""
    out = Tty()
    environment = {"TERM": "xterm-256color"}
    Console(file=out, width=columns, height=HEIGHT, _environ=environment).print(view(columns))
    return out.getvalue()


def written(command: Callable[[], object], columns: int) -> str:
    """What a command writes."""
    with terminal(columns) as out:
        command()
    return out.getvalue()


def board() -> Board:
    """The screen of `jdq top`, after some time."""
    made = Board(cancel=lambda job: None, logs=lambda job: [])
    use = {"gpu-0@node": "97 % GPU, 21.0 GiB of 79.6 GiB"}
    made.overview = Overview(jobs=JOBS, workers=WORKERS, use=use)
    for second in range(90):
        made.throughput.add(second, second * second * 40)
    for _ in range(3):
        made.press("down")
    return made


SCREENS: dict[str, Callable[[int], str]] = {
    "watch": lambda columns: rendered(lambda _: JobBar(RUNNING, Console(file=Tty())).get_renderable(), columns),
    "top": lambda columns: rendered(lambda width: board().frame(width, HEIGHT), columns),
    "jobs": lambda columns: written(lambda: jobs.jobs(["--limit", "20"], standalone_mode=False), columns),
    "status": lambda columns: written(lambda: jobs.status([RUNNING.id], standalone_mode=False), columns),
    "workers": lambda columns: written(lambda: stack.workers([], standalone_mode=False), columns),
    "compare": lambda columns: written(lambda: print_comparison(COMPARISON), columns),
}


def path_of(name: str, columns: int) -> Path:
    """The file that holds the screen."""
    return FOLDER / f"{name}-{columns}.txt"


def screen(name: str, columns: int) -> str:
    """What the terminal shows."""
    return "\n".join(shown(SCREENS[name](columns), columns=columns)) + "\n"


def too_wide(name: str, columns: int) -> list[str]:
    """Lines that the terminal would have to break."""
    lines = Text.from_ansi(SCREENS[name](columns)).plain.split("\n")
    return [line for line in lines if cell_len(line.rstrip()) > columns]


def main() -> None:
    """Writes the screens."""
    FOLDER.mkdir(exist_ok=True)
    for name in SCREENS:
        for columns in WIDTHS:
            path_of(name, columns).write_text(screen(name, columns), encoding="utf-8")


if __name__ == "__main__":
    main()
