"""The pages of the store, and what is started from them."""

import re

import pytest
from starlette.testclient import TestClient

from jdq.cli.web.app import application
from jdq.store.trained import Heads
from jdq.worker.queue.contract import HeadSearch, TrainHead
from tests.cli.conftest import CommandLine
from tests.web.conftest import OWNERS, Browser
from tests.web.test_jobs import rows


def spec_of(jdq: CommandLine, job: str) -> TrainHead:
    spec = jdq.workplace.jobbook.job(job).spec
    assert isinstance(spec, TrainHead)
    return spec


def test_an_empty_store_has_empty_pages(browser: Browser) -> None:
    assert browser.get("/data").count("None.") == 2
    assert browser.get("/trained").count("None.") == 2
    assert "no dataset &#39;nothing&#39;" in browser.get("/datasets/nothing", status=404)
    assert "no head has the id &#39;none&#39;" in browser.get("/trained/none", status=404)


def test_datasets_and_spaces_are_listed(browser: Browser, jdq: CommandLine) -> None:
    jdq.extracted()
    page = browser.get("/data")
    space = jdq.workplace.store.spaces()[0].digest[:12]
    [*_, dataset] = [row for row in rows(page) if row.startswith("table ")]
    assert re.fullmatch(rf"table \w+ 40 label 2 {space} complete", dataset)
    assert f"{space} hash:16 16 40 1" in " ".join(rows(page))
    assert 'href="/datasets/table"' in page
    assert "None." in browser.get("/datasets/table")
    assert "/page.js" in page
    assert 'id="live"' not in page


def test_a_head_is_listed_shown_and_compared(browser: Browser, jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained("--head", "logreg", "--param", "C=0.5")
    listing = browser.get("/trained")
    assert f'<a href="/trained/{head}">{head}</a>' in listing
    assert "<title>Heads and models - jdq</title>" in listing
    page = browser.get(f"/trained/{head}")
    record = Heads(jdq.workplace.store.root).record(head)
    low, high = record["intervals"]["accuracy"]
    assert f"accuracy {record['metrics']['accuracy']:.3f} {low:.3f} to {high:.3f}" in " ".join(rows(page))
    assert re.search(r"a \d\.\d{3} \d\.\d{3} \d\.\d{3} \d+", " ".join(rows(page)))
    for fact in ("hash:16", "C=0.5", "label column", "logreg", 'href="/datasets/table"'):
        assert fact in page
    compared = browser.get("/datasets/table")
    assert any(row.startswith(f"logreg {head}") and " hash:16 " in row for row in rows(compared))
    assert any(row.startswith("tf-idf baseline") for row in rows(compared))
    assert "/trained/baseline" not in compared
    assert ">head or fine-tune<" in compared


@pytest.fixture
def compared(jdq: CommandLine) -> list[str]:
    """Heads of C=0.001 and C=10, and one of other test rows."""
    parts = ("train", "train", "train", "validation", "test")
    jdq.extracted(
        "text,label,part\n" + "".join(f"number {n} of {'ab'[n % 2]},{'ab'[n % 2]},{parts[n % 5]}\n" for n in range(40))
    )
    heads = [jdq.trained("--head", "logreg", "--param", f"C={c}") for c in ("0.001", "10")]
    return [*heads, jdq.trained("--head", "dummy", "--seed", "7", "--split-column", "part")]


def order(page: str) -> list[str]:
    return re.findall(r'href="/trained/([^"]+)"', page)


def test_a_comparison_is_sorted_and_filtered_and_marks_what_is_not_comparable(
    browser: Browser, compared: list[str], jdq: CommandLine
) -> None:
    weak, strong, other = compared
    page = browser.get("/datasets/table")
    assert order(page)[-1] == other
    assert any(row.startswith(f"* dummy {other}") for row in rows(page))
    upwards, downwards = browser.get("/datasets/table?sort=seed"), browser.get("/datasets/table?sort=-seed")
    assert order(upwards)[-1] == order(downwards)[0] == other
    assert '<th scope="col" aria-sort="ascending"><a href="?sort=-seed&amp;with=">seed' in upwards
    assert '<th scope="col" aria-sort="descending"><a href="?sort=seed&amp;with=">seed' in downwards
    assert order(browser.get("/datasets/table?with=c%3D10")) == [strong]
    assert {*order(browser.get("/datasets/table?with=LOGREG&sort=-time"))} == {weak, strong}
    assert order(browser.get("/datasets/table?sort=vs%20best"))[-1] == other  # it has none
    assert order(browser.get("/datasets/table?sort=nothing")) == order(page)
    assert ">price<" not in page
    with TestClient(
        application({**jdq.workplace.environment, "JDQ_DEVICE_HOUR_PRICE": "3600"}, OWNERS), follow_redirects=False
    ) as client:
        browser = Browser(client)
        browser.log_in()
        priced = browser.get("/datasets/table?sort=-price")
    assert ">price<" in priced
    assert order(priced)[-1] == other
    hostile = browser.get('/datasets/table?with="><script>&sort="><script>')
    assert "<script>" not in hostile


def test_a_head_is_trained_from_the_page_as_by_the_command(browser: Browser, jdq: CommandLine) -> None:
    jdq.extracted()
    answer = browser.post("/datasets/table/train", head="logreg", params="C=0.1  max_iter=50", balanced="on")
    assert answer.status_code == 303
    job = answer.headers["location"].removeprefix("/jobs/")
    by_command = jdq.submit(
        *("train-head", "table", "--head", "logreg", "--param", "C=0.1", "--param", "max_iter=50"),
        *("--class-weight", "balanced"),
    )
    assert spec_of(jdq, job) == spec_of(jdq, by_command)
    assert jdq.workplace.jobbook.job(job).owner == "alice"
    bob = Browser(TestClient(browser.client.app, follow_redirects=False))
    bob.log_in("bobs-token")
    assert "no worker serves the cpu queue" not in bob.get(f"/jobs/{job}")
    assert "no worker serves the cpu queue" in browser.get(f"/jobs/{job}")
    assert "no worker serves the cpu queue" not in browser.get(f"/jobs/{job}")
    assert jdq.workplace.worked(job).state == "succeeded"
    assert f'href="/trained/{job}"' in browser.get(f"/jobs/{job}")


@pytest.mark.parametrize(("trials", "parsed"), [("", None), ("7", 7)])
def test_a_search_is_started_from_the_page(browser: Browser, jdq: CommandLine, trials: str, parsed: int | None) -> None:
    jdq.extracted()
    answer = browser.post("/datasets/table/search", trials=trials, metric="accuracy", labels_by="")
    assert spec_of(jdq, answer.headers["location"].removeprefix("/jobs/")).search == HeadSearch(
        trials=parsed, metric="accuracy"
    )


@pytest.mark.parametrize(
    ("action", "fields", "reason"),
    [
        ("train", {"head": "nothing"}, "no head &#39;nothing&#39;"),
        ("train", {"head": "logreg", "params": "depth=3"}, "logreg has no parameter depth"),
        ("train", {"head": "logreg", "params": "C"}, "is not of the form NAME=VALUE"),
        ("train", {"label_column": "nothing"}, "nothing"),
        ("search", {"trials": "-1"}, "a number of random trials"),
        ("search", {"metric": "beauty"}, "no metric &#39;beauty&#39;"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_job_exists(
    browser: Browser, jdq: CommandLine, action: str, fields: dict[str, str], reason: str
) -> None:
    jdq.extracted()
    before = jdq.workplace.jobbook.ids()
    answer = browser.post(f"/datasets/table/{action}", **fields)
    assert (answer.status_code, reason in answer.text) == (400, True), answer.text
    assert jdq.workplace.jobbook.ids() == before
    assert browser.post(f"/datasets/nothing/{action}").status_code == 404


def test_a_worker_writes_the_report_on_a_head_and_the_page_opens_it_in_a_sandbox(
    browser: Browser, jdq: CommandLine
) -> None:
    jdq.extracted()
    head = jdq.trained("--head", "logreg")
    assert f'action="/jobs/{head}/report"' in browser.get(f"/trained/{head}")
    job = browser.post(f"/jobs/{head}/report").headers["location"].removeprefix("/jobs/")
    assert "Open the report" not in browser.get(f"/jobs/{job}")
    assert browser.client.get(f"/jobs/{job}/report").status_code == 400
    assert jdq.workplace.worked(job).state == "succeeded"
    assert f'href="/jobs/{job}/report"' in browser.get(f"/jobs/{job}")
    answer = browser.client.get(f"/jobs/{job}/report")
    assert "logreg on table" in answer.text
    policy = answer.headers["content-security-policy"]
    for rule in ("default-src 'none'", "style-src 'unsafe-inline'", "frame-ancestors 'none'", "sandbox"):
        assert rule in policy
    assert "script" not in policy
    assert answer.headers["x-frame-options"] == "DENY"


def test_there_is_no_report_on_a_job_that_left_nothing(browser: Browser, jdq: CommandLine) -> None:
    assert browser.post("/jobs/extract-none/report").status_code == 400
    assert browser.client.get("/jobs/..%2F..%2Fetc/report").status_code == 404
    assert browser.client.get("/jobs/a.b/report").status_code == 400
