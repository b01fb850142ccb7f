"""Nobody sees a page without a token, and no other site can make a browser send, load, frame or leak anything."""

import pytest
from starlette.testclient import TestClient

from jdq.cli.web.access import LARGEST_FORM
from jdq.cli.web.app import ACTIONS, PAGES, application
from tests.web.conftest import HERE, OWNERS, TOKEN, Browser


def filled(path: str) -> str:
    return path.replace("{job}", "extract-k3v9x2pq")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/jobs/report-k3v9x2pq/report", *(filled(path) for path, *_ in PAGES)]
)
def test_a_stranger_sees_only_the_form_for_a_token(stranger: Browser, path: str) -> None:
    page = stranger.get(path, status=401)
    assert f'name="page" value="{path}"' in page
    assert "Log out" not in page


@pytest.mark.parametrize("path", [filled(path) for path, _ in ACTIONS])
def test_a_stranger_can_do_nothing(stranger: Browser, path: str) -> None:
    assert stranger.post(path).status_code == 401


def test_a_token_opens_the_page_that_was_asked_for_and_its_cookie_is_out_of_reach_of_scripts(stranger: Browser) -> None:
    answer = stranger.post("/login", token=f" {TOKEN}\n", page="/jobs?state=failed")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?state=failed")
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=2592000"):
        assert part in cookie
    assert "Secure" not in cookie
    assert "Log out alice" in stranger.get("/jobs")
    assert stranger.get("/login", status=204) == ""


def test_over_https_the_cookie_is_sent_over_https_only(stranger: Browser) -> None:
    answer = stranger.client.post(
        "https://testserver/login", data={"token": TOKEN}, headers={"sec-fetch-site": "same-origin"}
    )
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("page", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", ""])
def test_login_leads_to_no_other_site(stranger: Browser, page: str) -> None:
    assert stranger.post("/login", token=TOKEN, page=page).headers["location"] == "/"


def test_a_wrong_token_opens_nothing(stranger: Browser) -> None:
    answer = stranger.post("/login", token="wrong", page='"><script>')
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "Nobody has this token." in answer.text
    assert "<script>" not in answer.text
    stranger.get("/jobs", status=401)


def test_logging_out_takes_the_cookie_back(browser: Browser) -> None:
    answer = browser.post("/logout")
    assert answer.status_code == 303
    for part in ("Max-Age=0", "HttpOnly", "SameSite=strict"):
        assert part in answer.headers["set-cookie"]
    browser.get("/jobs", status=401)


def test_a_request_without_a_form_is_answered_as_any_other(browser: Browser) -> None:
    assert browser.client.head("/jobs").status_code == 200
    assert browser.client.delete("/jobs", headers=HERE).status_code == 405  # it has no length


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
        {"origin": "http://evil.example"},
        {"origin": "http://testserver:81"},
        {"origin": "null"},
        {},
    ],
    ids=str,
)
def test_a_form_of_another_site_is_refused(browser: Browser, headers: dict[str, str]) -> None:
    for path in ("/login", "/logout", *(filled(path) for path, _ in ACTIONS)):
        assert browser.post(path, headers=headers, token=TOKEN).status_code == 403, path
    browser.get("/jobs")


def test_a_browser_that_sends_only_the_origin_can_use_the_forms(stranger: Browser) -> None:
    origin = {"origin": "http://testserver"}
    assert stranger.post("/login", headers=origin, token=TOKEN).status_code == 303


def test_an_endless_form_is_refused(stranger: Browser) -> None:
    too_long = stranger.post("/login", token="x" * 70_000)
    assert (too_long.status_code, too_long.text) == (413, "too long")
    assert (
        stranger.client.post("/login", content=b"token=" + b"x" * (LARGEST_FORM - 6), headers=HERE).status_code == 401
    )
    parts = stranger.client.post("/login", content=iter([b"token=", b"x"]), headers=HERE)
    assert parts.status_code == 413


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/none", "/style.css", "/page.js", "/login", "/nothing"])
def test_every_answer_keeps_other_sites_out(browser: Browser, path: str) -> None:
    headers = browser.client.get(path).headers
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_pages_have_no_script_or_style_that_the_policy_would_refuse(browser: Browser) -> None:
    page = browser.get("/jobs")
    assert page.count("<script") == page.count('<script src="/page.js"') == 1
    for part in ("style=", "<style", "javascript:", " onclick"):
        assert part not in page


def test_each_stack_has_a_cookie_of_its_own_because_ports_of_a_host_share_cookies() -> None:
    names = set()
    for broker in ("redis://one:6379/0", "redis://two:6379/0"):
        client = TestClient(application({"JDQ_BROKER_URL": broker}, OWNERS), follow_redirects=False)
        answer = client.post("/login", data={"token": TOKEN}, headers=HERE)
        names.add(answer.headers["set-cookie"].partition("=")[0])
    assert len(names) == 2
