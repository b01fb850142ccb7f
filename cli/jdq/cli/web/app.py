"""The application: which address shows which page, live updates, and the border where errors become pages."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from jdq.cli.client import BadRequest, Client
from jdq.cli.web import actions, jobs, overview, rendering, stored
from jdq.cli.web.access import Guard, Sessions, token_digest
from jdq.worker.queue.exit_codes import ExitCode, code_of, message_of

REFRESH_S = 2.0  # how often an open page is rendered again
STATUS = {ExitCode.BAD_INPUT: 400, ExitCode.UNKNOWN: 404, ExitCode.NO_STACK: 503}
# A report has inline styles. In a sandbox it can use neither scripts nor forms nor the reader's login.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"

Values: TypeAlias = dict[str, Any]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
# By address and template: what the template shows.
PAGES: tuple[tuple[str, str, Callable[[Client, Request], Values]], ...] = (
    ("/", "overview.html", overview.overview),
    ("/jobs", "jobs.html", jobs.jobs),
    ("/jobs/{job}", "job.html", jobs.job),
    ("/usage", "usage.html", jobs.usage),
    ("/data", "data.html", stored.data),
    ("/datasets/{dataset}", "dataset.html", stored.dataset),
    ("/trained", "trained.html", stored.trained),
    ("/trained/{trained}", "one.html", stored.one),
)
ACTIONS: tuple[tuple[str, actions.Action], ...] = (
    ("/jobs/{job}/cancel", actions.cancel),
    ("/jobs/{job}/retry", actions.retry),
    ("/jobs/{job}/report", actions.report),
    ("/datasets/{dataset}/train", actions.train),
    ("/datasets/{dataset}/search", actions.search),
)


def application(
    environment: Mapping[str, str],
    owners: Mapping[str, str],
    *,
    refresh_s: float = REFRESH_S,
    ending: Callable[[], bool] = lambda: False,
) -> Starlette:
    """The pages of the stack that the environment configures. owners: by their token's digest.

    refresh_s: how often an open page is rendered again. ending: whether the server is stopping, so that open pages are
    closed.
    """
    client = Client(environment)
    sessions = Sessions(owners, f"jdq-{token_digest(client.config.broker_url)[:8]}")
    notes: dict[str, list[str]] = defaultdict(list)
    events = partial(_events, refresh_s=refresh_s, ending=ending)
    routes = [Route(path, _page(client, template, values, notes, events)) for path, template, values in PAGES]
    routes += [Route(path, _action(environment, act, notes), methods=["POST"]) for path, act in ACTIONS]
    routes += [
        Route("/jobs/{job}/report", _report(client)),
        Route("/login", _login(sessions), methods=["GET", "POST"]),
        Route("/logout", _logout(sessions), methods=["POST"]),
        Route("/style.css", _text(rendering.style(), "text/css")),
        Route("/page.js", _text(rendering.script(), "text/javascript")),
    ]

    observer = overview.Observer(Client(environment))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        observer.start()
        yield
        observer.stop()
        client.close()

    guard = Middleware(Guard, sessions=sessions, login=_login_page)
    application = Starlette(routes=routes, middleware=[guard], lifespan=lifespan)
    application.state.observer = observer
    return application


def _page(
    client: Client,
    template: str,
    values: Callable[[Client, Request], Values],
    notes: dict[str, list[str]],
    events: Callable[[Callable[[], str]], AsyncIterator[str]],
) -> Endpoint:
    def page(request: Request) -> Response:
        status, shown, known = _shown(template, lambda: values(client, request))
        owner = request.state.owner
        return HTMLResponse(
            rendering.page(shown, **known, owner=owner, here=request.url.path, notes=notes.pop(owner, [])), status
        )

    def part(request: Request) -> str:
        _, shown, known = _shown(template, lambda: values(client, request))
        return rendering.live_part(shown, **known)

    async def answer(request: Request) -> Response:
        if request.headers.get("accept") == "text/event-stream":
            return StreamingResponse(events(lambda: part(request)), media_type="text/event-stream")
        return await run_in_threadpool(page, request)

    return answer


async def _events(part: Callable[[], str], *, refresh_s: float, ending: Callable[[], bool]) -> AsyncIterator[str]:
    """The page's live part, whenever it has changed; comments in between show whether anyone still listens."""
    sent = ""
    while not ending():
        now = await run_in_threadpool(part)
        yield ":\n\n" if now == sent else "".join(f"data: {line}\n" for line in now.splitlines()) + "\n"
        sent = now
        await anyio.sleep(refresh_s)


def _action(environment: Mapping[str, str], act: actions.Action, notes: dict[str, list[str]]) -> Endpoint:
    def acted(request: Request, form: Mapping[str, str]) -> Response:
        client = actions.Acting(environment, request.state.owner)
        try:
            status, shown, known = _shown("", lambda: {"next": act(client, {**form, **request.path_params})})
        finally:
            client.close()
        if shown:
            return HTMLResponse(rendering.page(shown, **known, owner=request.state.owner, here="", notes=[]), status)
        notes[request.state.owner] += client.notes
        return RedirectResponse(known["next"], 303)

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(acted, request, await _form(request))

    return answer


def _report(client: Client) -> Endpoint:
    def read(request: Request) -> Response:
        status, problem, known = _shown("", lambda: {"page": jobs.report(client, request.path_params["job"])})
        if problem:
            return PlainTextResponse(known["problem"], status)
        return HTMLResponse(known["page"], headers={"Content-Security-Policy": REPORT_POLICY})

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(read, request)

    return answer


def _shown(template: str, values: Callable[[], Values]) -> tuple[int, str, Values]:
    """Status, template and values of a page, or of an error page in its place. A fault passes through."""
    try:
        return 200, template, values()
    except Exception as error:
        code = code_of(error, {BadRequest: ExitCode.BAD_INPUT})
        if code is None:
            raise
        return STATUS[code], "problem.html", {"title": code.meaning.capitalize(), "problem": message_of(error)}


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace")))


def _login_page(request: Request, *, wrong: bool = False, page: str | None = None) -> Response:
    requested = str(request.url.replace(scheme="", netloc="")) if page is None else page
    return HTMLResponse(rendering.page("login.html", page=requested, wrong=wrong), 401)


def _login(sessions: Sessions) -> Endpoint:
    async def answer(request: Request) -> Response:
        if request.method == "POST":
            form = await _form(request)
            return sessions.log_in(request, form) or _login_page(request, wrong=True, page=form.get("page", "/"))
        return Response(status_code=204) if request.state.owner else _login_page(request, page="/")

    return answer


def _logout(sessions: Sessions) -> Endpoint:
    async def answer(_: Request) -> Response:
        return sessions.log_out()

    return answer


def _text(text: str, media_type: str) -> Endpoint:
    async def answer(_: Request) -> Response:
        return PlainTextResponse(text, media_type=media_type)

    return answer
