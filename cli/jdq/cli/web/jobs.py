"""The pages of jobs: the list, one job, and what jobs have used."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from jdq.cli.client import Client
from jdq.cli.jobs.commands import matches
from jdq.cli.jobs.history import time_of
from jdq.cli.jobs.logs import last_lines
from jdq.cli.jobs.overview import JOB_COLUMNS, job_row
from jdq.cli.jobs.progress import describe_result, progress_of
from jdq.cli.jobs.summary import details
from jdq.cli.jobs.usage import NAMES, usage_table, used
from jdq.cli.jobs.waiting import explained
from jdq.cli.output import clock, duration
from jdq.store.job_files import JobFiles
from jdq.worker.queue.contract import KINDS, NOBODY, OUTPUT, JobState

if TYPE_CHECKING:
    from starlette.requests import Request

    from jdq.worker.queue.records import Job

PAGE = 50
# How many of the newest jobs are searched, if the history is long.
SEARCHED = 2_000
LINES = 500
SINCE = ("7d", "1d", "30d", "90d")


def jobs(client: Client, request: Request) -> dict[str, Any]:
    """Jobs, newest first, a page at a time."""
    query = {name: request.query_params.get(name, "") for name in ("state", "kind", "owner")}
    number = _number(request.query_params.get("page", ""))
    found = list(_listed(client, {name: value or None for name, value in query.items()}, PAGE * (number - 1)))
    return {
        "title": "Jobs",
        "chosen": query,
        "states": [str(state) for state in JobState],
        "kinds": KINDS,
        **table(explained(client.jobbook, found[:PAGE])),
        "number": number,
        "more": len(found) > PAGE,
        "address": lambda page: "?" + urlencode({**query, "page": page}),
    }


def table(listed: Sequence[Job]) -> dict[str, Any]:
    """What job_table.html shows."""
    return {
        "columns": (*JOB_COLUMNS, "owner", "submitted"),
        "jobs": [(job, job_row(job), progress_of(job).share) for job in listed],
        "now": time.time(),
    }


def _number(text: str) -> int:
    return max(1, int(text)) if re.fullmatch("[0-9]{1,6}", text) else 1


def _listed(client: Client, wanted: dict[str, str | None], start: int) -> Iterator[Job]:
    """A page of these jobs, newest first, and the first job of the next page."""
    if not any(wanted.values()):
        return islice(client.jobbook.newest(start=start), PAGE + 1)
    if wanted["state"] in (JobState.QUEUED, JobState.RUNNING):
        candidates: Iterable[Job] = sorted(client.jobbook.open_jobs(), key=lambda job: -job.created)
    else:
        candidates = islice(client.jobbook.newest(), SEARCHED)
    return islice((job for job in candidates if matches(job, **wanted)), start, start + PAGE + 1)


def job(client: Client, request: Request) -> dict[str, Any]:
    """One job: what it does, what failed, its result and its last log lines."""
    [known] = explained(client.jobbook, [client.job(request.path_params["job"])])
    done, total = progress_of(known).share
    return {
        "title": known.id,
        "job": known,
        "another": known.owner not in (request.state.owner, NOBODY),
        "details": details(known),
        "done": done,
        "total": total,
        "facts": list(_facts(known)),
        "result": _json(describe_result(known)) if known.state == JobState.SUCCEEDED else "",
        "lines": last_lines(client, known.id, LINES),
        "now": time.time(),
    }


def usage(client: Client, request: Request) -> dict[str, Any]:
    """What jobs have used, by owner, dataset, encoder or kind."""
    by = _one_of(request.query_params.get("by", ""), tuple(NAMES))
    since = _one_of(request.query_params.get("since", ""), SINCE)
    found = client.jobbook.newest(since=time_of(since, "since"))
    headings, rows = usage_table(by, used(found, by, client.config.device_hour_price))
    return {
        "title": "Usage",
        "choices": {"by": (by, NAMES), "since": (since, SINCE)},
        "headings": headings,
        "rows": rows,
    }


def _one_of(chosen: str, choices: Sequence[str]) -> str:
    return chosen if chosen in choices else choices[0]


def report(client: Client, job: str) -> bytes:
    """The page that the job wrote: HTML. Raises NoResult."""
    return JobFiles(client.store.root).get_array(job, OUTPUT).tobytes()


def _facts(job: Job) -> Iterator[tuple[str, str]]:
    progress = progress_of(job)
    yield "kind", job.kind
    yield "dataset", f"{job.spec.dataset} {job.spec.version}"
    if job.owner != NOBODY:
        yield "owner", job.owner
    yield "submitted", clock(job.created)
    if job.wall_s is not None:
        yield "time", duration(job.wall_s)
    if progress.eta_s is not None:
        yield "ETA", duration(progress.eta_s)
    yield "chunks", f"{job.chunks_done:,} of {job.chunks_total:,} done, {job.chunks_leased:,} running"
    if job.workers:
        yield "running on", ", ".join(job.workers)
    for name, value in msgspec.to_builtins(job.spec).items():
        if name not in ("spec", "dataset", "version") and value not in (None, False, {}, []):
            yield name.replace("_", " "), value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
