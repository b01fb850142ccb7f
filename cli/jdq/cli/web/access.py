"""Who may see the pages: tokens, the cookie that carries one, and what keeps other sites out."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE_S = 30 * 86_400
PUBLIC = ("/login", "/style.css", "/page.js")
LARGEST_FORM = 65_536  # bytes
# Nothing is loaded from elsewhere, pages have no inline script or style, no other site frames one or sees its address.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer, browsers would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """A token of 192 random bits."""
    return secrets.token_urlsafe(24)


def token_digest(token: str) -> str:
    """What the configuration holds instead of a token; tokens are random, so they need neither salt nor a slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Sessions:
    """owners: by their token's digest. cookie: its name, one per stack, because all ports of a host share cookies."""

    owners: Mapping[str, str]
    cookie: str

    def owner(self, token: str) -> str | None:
        """Whose token this is."""
        return self.owners.get(token_digest(token))

    def log_in(self, request: Request, form: Mapping[str, str]) -> Response | None:
        """Sets the cookie and continues to the requested page; None for a token that nobody has."""
        token, page = form.get("token", "").strip(), form.get("page", "/")
        if self.owner(token) is None:
            return None
        # Browsers take // and /\ as the beginning of another site's address.
        here = page.startswith("/") and page[1:2] not in ("/", "\\")
        answer = RedirectResponse(page if here else "/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(self.cookie, token, COOKIE_S, secure=secure, httponly=True, samesite="strict")
        return answer

    def log_out(self) -> Response:
        """Deletes the cookie."""
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict")
        return answer


class Guard:
    """Lets requests through to the pages: only from people with a token, and none that another site caused."""

    def __init__(self, app: ASGIApp, *, sessions: Sessions, login: Callable[[Request], Response]) -> None:
        """`login` makes the answer to a request without a token."""
        self._app, self._sessions, self._login = app, sessions, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        await (self._refusal(request) or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        if request.method not in ("GET", "HEAD"):
            if not _from_here(request):
                return PlainTextResponse("this form was not sent from a page of jdq web", 403)
            if "transfer-encoding" in request.headers or int(request.headers.get("content-length", 0)) > LARGEST_FORM:
                return PlainTextResponse("too long", 413)
        request.state.owner = self._sessions.owner(request.cookies.get(self._sessions.cookie, ""))
        if request.state.owner is None and request.url.path not in PUBLIC:
            return self._login(request)
        return None


def _from_here(request: Request) -> bool:
    """Whether a page of ours caused the request. Browsers without Sec-Fetch-Site (over plain HTTP) send Origin."""
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")
