"""Every screen at every width is as it was looked at and stored: nothing is lost, and no line is too wide."""

import pytest

from tests.cli.screens import COMPARISON, JOBS, RUNNING, SCREENS, WIDTHS, WORKERS, path_of, screen, too_wide

# What each screen must say at every width.
FACTS = {
    "watch": [RUNNING.id, "running", "38%", "ETA 3 min", "4,500/12,000 texts", "40.0 texts/s", "4,000 tokens/s"],
    "top": [
        *(fact for job in JOBS for fact in (job.id, job.state, job.spec.dataset)),
        *(fact for worker in WORKERS for fact in (worker.name, worker.state, worker.device[:39], worker.job or "")),
        *("1 queued, 2 running, 1 failed", "97 % GPU, 21.0 GiB of 79.6 GiB", "its features are not those of others"),
        *(
            "150/300",
            "2 h 00 min",
            "the lease expired",
            "too little memory for one text",
            "--max-length",
            "q quit",
            "█",
        ),
    ],
    "jobs": [*(job.id for job in JOBS), *(job.spec.dataset for job in JOBS), "4,500/12,000 texts", "step 150/300"],
    "status": [RUNNING.id, "the lease expired", "posts", "gpu-1@node", "0" * 12],
    "workers": [fact for worker in WORKERS for fact in (worker.name, worker.device, worker.state, str(worker.pid))],
    "compare": [fact for row in COMPARISON.rows for fact in (row.id, row.name, f"{row.metrics['macro_f1']:.3f}")],
}


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_the_stored_one_and_fits(name: str, columns: int) -> None:
    text = screen(name, columns)
    assert too_wide(name, columns) == []
    joined = "".join(text.split())
    assert [fact for fact in FACTS[name] if "".join(fact.split()) not in joined] == []
    assert text == path_of(name, columns).read_text(encoding="utf-8"), "python -m tests.cli.screens"
