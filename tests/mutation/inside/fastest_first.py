"""A pytest plugin: the tests in the order of the times that mutmut measured, so that most mutants are killed early.

A mutant gets tests of 20 s in all and no more: without that limit one that survives costs as much as a run of its room.
"""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

import pytest

BUDGET_S = 20.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    measured = Path("mutmut-stats.json")
    if not measured.is_file():
        return
    seconds = json.loads(measured.read_text(encoding="utf-8"))["duration_by_test"]
    items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
    within = sum(total <= BUDGET_S for total in accumulate(seconds.get(item.nodeid, 0.0) for item in items))
    kept = max(1, within)
    if len(items) > kept:
        config.hook.pytest_deselected(items=items[kept:])
        del items[kept:]
