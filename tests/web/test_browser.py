"""The pages in Chromium: they fit a phone and a desktop, light and dark, axe finds no violation, and they follow."""

from collections.abc import Iterator
from typing import Any

import pytest

from jdq.worker.queue.archive import lines_key
from tests.chromium import checked_at, chromium
from tests.cli.conftest import CommandLine
from tests.jobs.conftest import Workplace
from tests.web.conftest import TOKEN, serving
from tests.web.test_jobs import EXTRACT

__all__ = ["chromium"]

LONG = EXTRACT.__class__(dataset="a-" + "long-" * 30 + "name", version="v" * 40, encoder="/models/" + "x" * 90)


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """Alice's, who followed the address that the command printed."""
    context = chromium.new_context(base_url=address)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"/#token={TOKEN}")
    page.get_by_role("button", name="Log out alice").wait_for()
    yield page
    context.close()
    assert faults == []


def filled(workplace: Workplace) -> dict[str, str]:
    """Every page, by what it shows."""
    jobbook = workplace.jobbook
    running, failed, _ = (jobbook.create(spec)[0] for spec in (LONG, EXTRACT, EXTRACT))
    counts: dict[Any, Any] = {"count:texts_total": 12_000, "count:texts_done": 4_200, "count:tokens": 90_000}
    workplace.client.hset(f"jdq:job:{running}", mapping=counts)
    for n in range(60):
        workplace.client.xadd(lines_key(running), {"line": f"{n} " + "x" * 150})
    workplace.work_on(failed, "cpu")
    gpu = {"uuid": "GPU-1", "percent": 87, "used": 20 << 30, "total": 80 << 30, "power_w": 310.4}
    workplace.runtime("gpu", "busy" * 20).ledger.heartbeat({"queue": "gpu", "device": "cuda H100", "gpu": gpu})
    workplace.client.hset("jdq:workers:busy", "busy" * 20 + "-gpu", running)
    return {
        "overview": "/", "usage": "/usage",
        "jobs": "/jobs", "no jobs": "/jobs?state=cancelled", "running": f"/jobs/{running}",
        "failed": f"/jobs/{failed}", "unknown": "/jobs/none",
    }  # fmt: skip


def stored(jdq: CommandLine) -> dict[str, str]:
    """The pages of the store, by what they show."""
    jdq.extracted()
    head = jdq.trained("--head", "logreg")
    return {"data": "/data", "dataset": "/datasets/table", "trained": "/trained", "head": f"/trained/{head}"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_axe_finds_no_violation(page: Any, jdq: CommandLine, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for about, path in {**stored(jdq), **filled(jdq.workplace)}.items():
        page.goto(path)
        assert [*checked_at(page, f"{scheme} {about}", (390, 1200))]
    page.context.clear_cookies()
    page.goto("/jobs")
    assert [*checked_at(page, f"{scheme} login", (390, 1200))]


def test_an_open_page_follows_and_keeps_the_place_of_its_reader(page: Any, workplace: Workplace) -> None:
    job = filled(workplace)["running"].rpartition("/")[2]
    page.goto(f"/jobs/{job}")
    log = page.get_by_role("region", name="Log")
    log.evaluate("element => element.scrollTop = 200")
    page.get_by_role("button", name="Cancel").focus()
    workplace.client.xadd(lines_key(job), {"line": "a new line"})
    log.get_by_text("a new line").wait_for()
    assert log.evaluate("element => element.scrollTop") == 200
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    workplace.jobbook.cancel(job)
    page.get_by_role("button", name="Retry").wait_for()
    assert page.get_by_role("button", name="Cancel").count() == 0


def test_new_jobs_appear_and_rows_stay_those_of_their_jobs(page: Any, workplace: Workplace) -> None:
    page.goto("/jobs")
    first, _ = workplace.jobbook.create(EXTRACT)
    page.locator(f"#row-{first}").wait_for()
    page.get_by_role("link", name=first).focus()
    second, _ = workplace.jobbook.create(EXTRACT)
    page.locator(f"#row-{second}").wait_for()
    assert page.evaluate("document.activeElement.textContent") == first
    assert page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.id)") == [f"row-{second}", f"row-{first}"]
    page.get_by_role("link", name=first).click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("queued").wait_for()


def test_a_link_from_another_site_opens_the_page_for_who_is_logged_in(page: Any, workplace: Workplace) -> None:
    job, _ = workplace.jobbook.create(EXTRACT)
    here = page.url.removesuffix("/")
    page.route("http://mail.example/*", lambda route: route.fulfill(body=f'<a href="{here}/jobs/{job}">look</a>',
                                                                     content_type="text/html"))  # fmt: skip
    page.goto("http://mail.example/")
    page.get_by_role("link", name="look").click()
    page.get_by_role("heading", name=job).wait_for()


def test_the_page_says_when_the_server_is_gone(chromium: Any, workplace: Workplace) -> None:
    page = chromium.new_page()
    gone = page.get_by_text("The server does not answer")
    with serving(workplace.environment) as address:
        page.goto(f"{address}/#token={TOKEN}")
        page.get_by_role("heading", name="Overview").wait_for()
        assert not gone.is_visible()
    gone.wait_for()
    page.close()


def test_a_head_is_trained_by_a_click(page: Any, jdq: CommandLine) -> None:
    page.goto(stored(jdq)["dataset"])
    page.get_by_label("Kind").select_option("knn")
    page.get_by_role("button", name="Train").click()
    page.get_by_text("no worker serves the cpu queue").wait_for()
    jdq.workplace.worked(page.url.rpartition("/")[2])
    page.get_by_role("link", name="What was measured").click()
    page.get_by_role("link", name="heads and fine-tunes of table").click()
    page.get_by_role("link", name="accuracy").click()
    assert page.locator("[aria-sort=descending]").inner_text() == "accuracy"


def test_an_open_page_asks_for_the_token_when_the_login_has_ended(page: Any) -> None:
    page.context.clear_cookies()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when the reader comes back to it
    page.get_by_label("Token").wait_for()
