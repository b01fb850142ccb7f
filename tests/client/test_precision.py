"""`--precision auto` is one setting of the installation: of the stack, of jobs in this process, and of estimators."""

from pathlib import Path

import pytest

from jdq import Client
from jdq.client.connection import Connection
from jdq.sklearn import TextFeatures
from jdq.store.errors import StoreFormatError
from jdq.store.store import open_store
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.queue.contract import PROTOCOL
from jdq.worker.queue.precision import settle_precision
from tests.jobs.conftest import Workplace

GPU_WORKER = {"queue": "gpu", "device": "cuda NVIDIA 7", "protocol": PROTOCOL}


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    return str(make_tiny_bart(tmp_path / "tiny", dim=32, layers=1))


def test_what_the_stack_settled_holds_in_this_process(
    workplace: Workplace, remote: Client, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.runtime("gpu").ledger.heartbeat(GPU_WORKER)
    job = remote.extract(["a text"], encoder=encoder, name="first")
    workplace.work_on(job.id, "cpu")  # the plan
    local = Client.local(workplace.store.root, quiet=True)
    assert local.store.precision() == "bfloat16"
    monkeypatch.setattr("jdq.worker.encoder.by_name.load", _refused)
    spaces = {space.digest for space in local.store.spaces()}
    local.extract(["another"], encoder=encoder, name="second")
    features = TextFeatures(encoder, store=str(workplace.store.root)).fit(["a text"])
    assert spaces == {features.space_} == {space.digest for space in local.store.spaces()}


def _refused(*_: object, **__: object) -> None:
    raise RuntimeError("nothing is computed here")


def test_what_this_process_settled_holds_on_the_stack(workplace: Workplace, remote: Client, encoder: str) -> None:
    TextFeatures(encoder, store=str(workplace.store.root)).fit(["a text"])
    workplace.runtime("gpu").ledger.heartbeat(GPU_WORKER)
    assert settle_precision(workplace.jobbook, workplace.store, "bfloat16") == "float32"
    assert workplace.jobbook.precision() == "float32"


def test_an_older_stack_s_setting_replaces_the_store_s(workplace: Workplace) -> None:
    workplace.jobbook.settle_precision("bfloat16")
    workplace.store.settle_precision("float32")
    assert settle_precision(workplace.jobbook, workplace.store, "float32") == "bfloat16"
    assert workplace.store.precision() == "bfloat16"


def test_it_is_shown_where_redis_does_not_answer(workplace: Workplace) -> None:
    offline = Connection("redis://localhost:1/0", workplace.store.root, quiet=True)
    assert offline.automatic_precision() is None
    workplace.store.settle_precision("float32")
    assert offline.automatic_precision() == "float32"
    (workplace.store.root / "precision.json").write_text("{")
    with pytest.raises(StoreFormatError, match="cannot be read"):
        open_store(workplace.store.root).precision()
