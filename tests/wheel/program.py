"""A user's program, run and type-checked against the installed wheel: see `run` beside it."""

from pathlib import Path

import jdq.cli.main
import jdq.worker.config
from jdq.store import BatchPlan, open_store

store = open_store()
X, y, texts = store.load("jobs")
assert X.shape == (len(texts), 512)
assert len(y) == len(texts)
table = store.open("jobs")
for features, rows in table.batches(BatchPlan(size=64, shuffle=True)):
    assert features.shape[0] == len(rows)

home: Path = jdq.worker.config.read_config().home
assert home.name == "home"
# An error that mypy must see: with packages that have no types it would not, and strict mode refuses an unused ignore.
entry: int = jdq.cli.main.main  # type: ignore[assignment]
digest: int = table.version.version  # type: ignore[assignment]
