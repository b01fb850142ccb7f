"""What `--precision auto` means is settled once, not by who is alive when a plan runs."""

import msgspec
import pytest

from jdq.worker.encoder.by_name import space_of as sound
from jdq.worker.jobs import plan
from jdq.worker.queue.contract import Extract
from jdq.worker.queue.records import Job
from tests.jobs.cases import csv_of, labelled
from tests.jobs.conftest import Workplace


@pytest.fixture(autouse=True)
def any_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hashing encoder in a space of the requested precision: a real one would take a GPU."""

    def space_of(name: str, **options: object) -> object:
        definition = sound(name, max_length=None, precision="float32", storage_dtype="float16", pooling="cls")
        return msgspec.structs.replace(definition, precision=options["precision"])

    monkeypatch.setattr(plan, "space_of", space_of)


def planned(workplace: Workplace, name: str, precision: str = "auto") -> Job:
    version = workplace.imported(csv_of(labelled(20)), name)
    spec = Extract(dataset=name, version=version.version, encoder="hash:8", precision=precision)
    job, _ = workplace.jobbook.create(spec)
    workplace.work_on(job, "cpu")
    return workplace.jobbook.job(job)


def precision_of(job: Job) -> object:
    assert job.result is not None, job.error
    return job.result["precision"]


def gpu_worker(workplace: Workplace) -> None:
    workplace.runtime("gpu").ledger.heartbeat({"queue": "gpu", "device": "cuda NVIDIA 7"})


def test_the_first_plan_settles_it_and_workers_that_come_later_change_nothing(workplace: Workplace) -> None:
    assert precision_of(planned(workplace, "first")) == "float32"
    gpu_worker(workplace)
    assert precision_of(planned(workplace, "second")) == "float32"


def test_a_gpu_worker_settles_bfloat16_and_its_absence_changes_nothing(workplace: Workplace) -> None:
    gpu_worker(workplace)
    assert precision_of(planned(workplace, "first")) == "bfloat16"
    workplace.runtime("gpu").ledger.deregister()
    assert precision_of(planned(workplace, "second")) == "bfloat16"
    assert precision_of(planned(workplace, "third", "float32")) == "float32"


def test_before_it_is_settled_a_dataset_keeps_the_precision_of_its_last_features(workplace: Workplace) -> None:
    planned(workplace, "first", "bfloat16")
    assert workplace.jobbook.precision() is None
    assert precision_of(planned(workplace, "first")) == "bfloat16"
    assert precision_of(planned(workplace, "second")) == "float32"
