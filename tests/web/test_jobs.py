"""The pages of jobs: the list, a job, its buttons, and how an open page follows."""

import re
from collections.abc import Generator
from contextlib import closing
from html import unescape
from http.client import HTTPConnection

import pytest
import redis
from starlette.testclient import TestClient

from jdq.cli.web.app import application
from jdq.cli.web.jobs import PAGE
from jdq.worker.queue.archive import lines_key
from jdq.worker.queue.contract import Extract, TrainHead
from jdq.worker.queue.jobbook import JobBook
from tests.cli.conftest import CommandLine
from tests.jobs.conftest import Workplace
from tests.queue.ledgers import taken
from tests.web.conftest import HERE, OWNERS, TOKEN, Browser

EXTRACT = Extract(dataset="postings", version="v1", encoder="hash:16")
TRAIN = TrainHead(dataset="postings", version="v1")
# It would run, or end the element that it is in.
HOSTILE = '<script>alert("1")</script></pre><img src=x onerror=alert(1)>'


def rows(page: str) -> list[str]:
    """The words of each row of the page's tables."""
    found = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [" ".join(unescape(re.sub("<[^>]+>", " ", row)).split()) for row in found]


def listed(page: str) -> list[str]:
    return re.findall(r'id="row-([^"]+)"', page)


def test_jobs_are_listed_newest_first_a_page_at_a_time(browser: Browser, workplace: Workplace) -> None:
    made = [workplace.jobbook.create(EXTRACT)[0] for _ in range(PAGE + 3)]
    first = browser.get("/jobs")
    assert len(listed(first)) == PAGE
    assert "<title>Jobs - jdq</title>" in first
    assert "Newer" not in first
    [older] = re.findall(r'href="([^"]+)">Older', first)
    second = browser.get("/jobs" + older.replace("&amp;", "&"))
    assert len(listed(second)) == 3
    assert {*listed(first), *listed(second)} == {*made}
    assert "Older" not in second
    assert 'page=1">Newer' in second


def test_jobs_are_listed_by_state_kind_and_owner(browser: Browser, workplace: Workplace) -> None:
    jobbook = workplace.jobbook
    cancelled, queued, head = (jobbook.create(spec)[0] for spec in (EXTRACT, EXTRACT, TRAIN))
    jobbook.cancel(cancelled)
    assert listed(browser.get("/jobs?state=cancelled")) == [cancelled]
    assert {*listed(browser.get("/jobs?state=queued"))} == {queued, head}
    assert listed(browser.get("/jobs?state=queued&kind=extract")) == [queued]
    assert listed(browser.get("/jobs?kind=train-head")) == [head]
    assert "No jobs." in browser.get("/jobs?state=failed")
    assert "queued (no cpu worker is running)" in browser.get("/jobs")
    assert "queued (no cpu worker is running)" in browser.get(f"/jobs/{queued}")
    bobs, _ = jobbook.create(EXTRACT, owner="bob")
    assert listed(browser.get("/jobs?owner=bob")) == [bobs]
    assert listed(browser.get("/jobs?owner=bob&kind=train-head")) == []
    assert "<option selected>cancelled" in browser.get("/jobs?state=cancelled")


def test_of_a_long_history_the_newest_jobs_are_searched(
    browser: Browser, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdq.cli.web.jobs.SEARCHED", 3)
    made = [workplace.jobbook.create(EXTRACT)[0] for _ in range(5)]
    assert len(listed(browser.get("/jobs?kind=extract"))) == 3
    assert len(listed(browser.get("/jobs?state=queued"))) == 5  # jobs that have not ended need no search
    assert {*listed(browser.get("/jobs"))} == {*made}


@pytest.mark.parametrize("page", ["0", "-1", "x", "%C2%B2", "99999999", "1e3"])
def test_a_page_number_that_is_none_is_the_first_page(browser: Browser, workplace: Workplace, page: str) -> None:
    job, _ = workplace.jobbook.create(EXTRACT)
    assert listed(browser.get(f"/jobs?page={page}")) == [job]


def test_what_jobs_say_is_text_and_never_html(browser: Browser, workplace: Workplace) -> None:
    spec = Extract(dataset=HOSTILE, version=HOSTILE, encoder=HOSTILE)
    job, _ = workplace.jobbook.create(spec)
    workplace.client.xadd(lines_key(job), {"line": HOSTILE})
    workplace.work_on(job, "cpu")  # fails: there is no such dataset
    for page in (browser.get("/jobs"), browser.get(f"/jobs/{job}")):
        assert "&lt;script&gt;" in page
        assert HOSTILE not in page
        assert "<script>" not in page
        assert "<img" not in page
    escaped = browser.get("/jobs?kind=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>" not in escaped
    lost = browser.get("/jobs/%3Cscript%3E", status=404)
    assert "no job has the id &#39;&lt;script&gt;&#39;" in lost


def test_the_page_of_a_job_shows_state_reasons_result_and_log(browser: Browser, jdq: CommandLine) -> None:
    job = jdq.extracted()
    jdq.workplace.client.xadd(lines_key(job), {"line": "a line of its log"})
    page = browser.get(f"/jobs/{job}")
    for part in ("succeeded, 40/40 texts", "hash:16", "table", "a line of its log", "&#34;computed&#34;: 40"):
        assert part in page
    assert "Cancel" not in page
    assert "Retry" not in page


def test_a_running_job_shows_how_much_is_done_and_by_whom(browser: Browser, workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(EXTRACT, owner="bob")
    workplace.client.hset(f"jdq:job:{job}", mapping={"count:texts_total": 12, "count:texts_done": 3})
    ledger = workplace.runtime("cpu").ledger
    ledger.renew([(taken(ledger, job), {"eta_s": 90})])
    page = browser.get(f"/jobs/{job}")
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert {"kind": "extract", "dataset": "postings v1", "owner": "bob", "encoder": "hash:16"}.items() <= facts.items()
    assert (facts["running on"], facts["ETA"]) == ("worker-cpu", "90 s")
    assert "submitted" in facts
    assert "version" not in facts
    assert re.search(r'<progress value="3" max="12"', page)
    assert "3/12 texts" in browser.get("/jobs")


def test_a_job_can_be_cancelled_and_retried(browser: Browser, workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(EXTRACT)
    assert "Retry" not in browser.get(f"/jobs/{job}")
    answer = browser.post(f"/jobs/{job}/cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job}")
    assert workplace.jobbook.job(job).state == "cancelled"
    refused = browser.post(f"/jobs/{job}/cancel").text
    assert "has already ended" in refused
    assert "Log out alice" in refused
    assert browser.post(f"/jobs/{job}/retry").status_code == 303
    assert workplace.jobbook.job(job).state == "queued"
    again = browser.post(f"/jobs/{job}/retry")
    assert (again.status_code, "only a failed or cancelled job" in again.text) == (400, True)
    assert browser.post("/jobs/none/cancel").status_code == 404


def test_a_job_of_somebody_else_is_cancelled_only_on_purpose_and_its_log_names_who_did(
    browser: Browser, workplace: Workplace
) -> None:
    job, _ = workplace.jobbook.create(EXTRACT, owner="bob")
    page = browser.get(f"/jobs/{job}")
    assert "Cancel the job of bob" in page
    refused = browser.post(f"/jobs/{job}/cancel")
    assert (refused.status_code, "is owned by bob, and you are alice" in refused.text) == (400, True)
    assert workplace.jobbook.job(job).state == "queued"
    assert browser.post(f"/jobs/{job}/cancel", force="1").status_code == 303
    assert "alice" in workplace.jobbook.job(job).log[-1]["reason"]
    assert "alice" in browser.get(f"/jobs/{job}").partition("Attempts")[2]


def test_usage_is_shown_by_owner_or_another_name_and_with_a_price_where_there_is_one(workplace: Workplace) -> None:
    for owner, tokens in (("alice", 1_000), ("bob", 2_000), ("bob", 3_000)):
        job, _ = workplace.jobbook.create(EXTRACT, owner=owner)
        workplace.client.hset(f"jdq:job:{job}", mapping={"count:tokens": tokens, "count:device_ms": 3_600 * tokens})
    workplace.client.zincrby("jdq:jobs", -2 * 86_400_000, job)  # two days ago
    priced = {**workplace.environment, "JDQ_DEVICE_HOUR_PRICE": "2"}
    with TestClient(application(priced, OWNERS), follow_redirects=False) as client:
        browser = Browser(client)
        browser.log_in()
        by_owner, by_kind = browser.get("/usage"), browser.get("/usage?by=kind&since=1d")
        assert rows(by_owner) == ["owner jobs device time texts tokens price", "bob 2 5 h 00 min 0 5,000 10.00",
                                  "alice 1 60 min 00 s 0 1,000 2.00"]  # fmt: skip
        assert rows(by_kind)[1].startswith("extract 2 ")
        assert "<option selected>1d" in by_kind
        assert rows(browser.get("/usage?by=<script>&since=x")) == rows(by_owner)


def test_without_redis_the_page_says_so(workplace: Workplace) -> None:
    away = {**workplace.environment, "JDQ_BROKER_URL": "redis+socket:///nowhere.sock"}
    with TestClient(application(away, OWNERS)) as client:
        page = client.post("/login", data={"token": TOKEN, "page": "/jobs"}, headers=HERE)
    assert page.status_code == 503
    assert "no answer from redis+socket:///nowhere.sock" in page.text


def test_a_fault_of_the_page_is_no_answer_to_the_user(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    def broken(*_: object) -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr("jdq.cli.web.jobs.job_row", broken)
    workplace.jobbook.create(EXTRACT)
    with pytest.raises(ZeroDivisionError):
        browser.get("/jobs")


def events(address: str, path: str) -> Generator[str]:
    """What the server sends to an open page, as long as it is read."""
    with closing(HTTPConnection(address.removeprefix("http://"), timeout=10)) as connection:
        connection.request("POST", "/login", f"token={TOKEN}", HERE)
        with connection.getresponse() as answer:
            cookie = answer.headers["set-cookie"].partition(";")[0]
        connection.request("GET", path, headers={"accept": "text/event-stream", "cookie": cookie})
        with connection.getresponse() as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines: list[str] = []
            while line := answer.readline().decode():
                if line != "\n":
                    lines.append(line.removeprefix("data: "))
                    continue
                if text := "".join(lines).removeprefix(":\n"):
                    yield text
                lines.clear()


def test_an_open_page_is_sent_again_when_a_job_changes_and_when_redis_is_back(
    address: str, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = workplace.jobbook.create(EXTRACT)
    following = events(address, f"/jobs/{job}")
    first = next(following)
    assert "queued" in first
    assert "<html" not in first
    workplace.jobbook.cancel(job)
    assert "cancelled" in next(following)

    def away(*_: object) -> None:
        raise redis.ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(JobBook, "job", away)
        assert "the connection to Redis broke: gone" in next(following)
    assert "cancelled" in next(following)
    following.close()


def test_a_stranger_follows_no_page(stranger: Browser) -> None:
    answer = stranger.client.get("/jobs", headers={"accept": "text/event-stream"})
    assert answer.status_code == 401
