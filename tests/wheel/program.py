"""A user's program, run and type-checked against the installed wheel: see `run` beside it."""

from pathlib import Path

import jdq.cli.main
import jdq.worker.config
from jdq import Client
from jdq.sklearn import TextClassifier
from jdq.store import BatchPlan, open_store

store = open_store()
X, y, texts = store.load("jobs")
assert X.shape == (len(texts), 512)
assert len(y) == len(texts)
table = store.open("jobs")
for features, rows in table.batches(BatchPlan(size=64, shuffle=True)):
    assert features.shape[0] == len(rows)

client = Client.local(quiet=True)
texts = [f"posting {n}" for n in range(20)]
job = client.extract(texts, label=["health", "metal"] * 10, name="two", encoder="hash:8")
assert job.result().shape == (20, 8)
status: str = job.wait(quiet=True).status
assert client.train_head(job).result().shape[1] == 3
assert store.frame("two").shape == (20, 2)
classifier = TextClassifier("hash:8").fit(["a nurse", "a welder"], ["health", "metal"])
assert list(classifier.predict(["a nurse"])) == ["health"]

home: Path = jdq.worker.config.read_config().home
assert home.name == "home"
# An error that mypy must see: with packages that have no types it would not, and strict mode refuses an unused ignore.
entry: int = jdq.cli.main.main  # type: ignore[assignment]
state: int = job.status  # type: ignore[assignment]
digest: int = table.version.version  # type: ignore[assignment]
