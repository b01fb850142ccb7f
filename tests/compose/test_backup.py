"""The documentation's backup, taken while a job runs, and restored where everything was lost."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.conftest import SOME_ROWS
from tests.compose.stack import CPU_FILES, Stack, recipe
from tests.compose.test_jobs import check_counts, check_features, status_when

pytestmark = [pytest.mark.compose, pytest.mark.slow]
SERVICES = ("redis", "gpu-worker", "cpu-worker")


@pytest.fixture
def mortal(stack: Stack, settings: dict[str, str], folder: Path) -> Iterator[Stack]:
    """A stack of its own. `stack` has made the model and the table."""
    mortal = Stack(f"jdq-test-{secrets.token_hex(4)}", folder, settings, CPU_FILES)
    try:
        mortal.compose("up", "-d", "--no-build", *SERVICES)
        yield mortal
    finally:
        mortal.remove()
        assert mortal.leftovers() == []


def test_a_job_goes_on_from_a_backup_that_was_taken_while_it_ran(mortal: Stack, folder: Path, tmp_path: Path) -> None:
    job = mortal.submit("extract", "/data/some.csv")
    status_when(mortal, job, chunks_done=3)
    mortal.typed(recipe("back up"), folder=tmp_path)
    backed_up = status_when(mortal, job, chunks_done=4)["chunks_done"]
    mortal.remove()
    assert mortal.leftovers() == []

    mortal.typed(recipe("restore").replace("up -d", f"up -d --no-build {' '.join(SERVICES)}"), folder=tmp_path)
    restored = mortal.ask("status", job)
    assert 3 <= restored["chunks_done"] <= backed_up
    result = mortal.succeeded(job, within_s=800)
    check_counts(result, SOME_ROWS)
    mortal.jdq("store", "verify")
    check_features(mortal, folder, "some")
