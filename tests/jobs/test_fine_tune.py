"""Fine-tunes as jobs: they resume by themselves, save before they stop, and their models classify and extract."""

import csv
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.cli.jobs.progress import progress_of
from jdq.store.keys import text_keys
from jdq.store.trained import Models
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.heads.split import TEST
from jdq.worker.jobs import work_for
from jdq.worker.jobs.fine_tune import FineTuneWork
from jdq.worker.jobs.labelled import labelled_rows
from jdq.worker.jobs.learnt import learnt_by, short_keys
from jdq.worker.jobs.report import page_of
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.lease_heartbeat import Draining, HeldLease, Preempted
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Extract, FineTune, JobState, Predict, TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job
from tests.jobs.cases import csv_of
from tests.jobs.conftest import Workplace
from tests.waiting import until

WORDS = {"cook": "kitchen menu chef", "nurse": "patient ward clinic"}
ROWS = [(f"{i} we seek {WORDS[label]} </s> for us", label) for i in range(24) for label in WORDS]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So small a network is slower on several threads, by far where the cores are shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_bart(tmp_path_factory.mktemp("encoder") / "tiny", dim=32, layers=1))


def fine_tune(workplace: Workplace, encoder: str, **options: Any) -> FineTune:
    version = workplace.imported(csv_of(ROWS))
    chosen = {"epochs": 2, "learning_rate": 2e-3, "batch_size": 8, "max_length": 32, "warmup": 0.0} | options
    return FineTune(dataset=version.name, version=version.version, options=FineTuneOptions(encoder=encoder, **chosen))


def result(job: Job) -> dict[str, Any]:
    assert job.state is JobState.SUCCEEDED, job.error
    assert job.result is not None
    return job.result


def test_a_fine_tune_ends_with_a_model_that_classifies_and_extracts(workplace: Workplace, encoder: str) -> None:
    job = workplace.finished(fine_tune(workplace, encoder))
    found = result(job)
    assert found["model_id"] == job.id
    assert (found["steps"], found["resumed"]) == (10, 0)
    assert found["intervals"]["accuracy"]
    assert Models(workplace.store.root).record(job.id)["metrics"] == found["metrics"]

    new = workplace.imported(
        csv_of([("a menu", "1"), ("a ward", "2"), ("a menu", "3")], "text,id"), "new", unlabelled=True
    )
    predicted = workplace.finished(Predict(dataset=new.name, version=new.version, model=job.id))
    with (workplace.store.root / result(predicted)["file"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["probability_cook"] == rows[2]["probability_cook"] != rows[1]["probability_cook"]
    counts = predicted.counts
    assert counts["computed"] == 2
    assert counts["estimated_tokens"] == counts["estimated_done"] > 0
    assert counts["device_ms"] == sum(ms for name, ms in counts.items() if name.startswith("device_ms_"))
    assert progress_of(predicted).tokens_per_s

    extraction = workplace.finished(Extract(dataset=new.name, version=new.version, encoder=job.id))
    other = workplace.finished(Extract(dataset=new.name, version=new.version, encoder=encoder))
    assert result(extraction)["space"] != result(other)["space"]
    assert new.spaces()[1].encoder == job.id


def test_the_texts_that_a_fine_tune_learnt_from_are_not_tested_on_its_features(
    workplace: Workplace, encoder: str
) -> None:
    spec = fine_tune(workplace, encoder, epochs=1)
    first = workplace.finished(spec)
    # The same texts, mended otherwise because their classes are others, and new ones.
    rows = [(text, "xyzvw"[i % 5]) for i, (text, _) in enumerate(ROWS)] + [(f"new {i}", "xy"[i % 2]) for i in range(9)]
    later = workplace.imported(csv_of(rows), "later")
    assert workplace.finished(Extract(dataset="later", version=later.version, encoder=first.id)).state == "succeeded"
    head = result(workplace.finished(TrainHead(dataset="later", version=later.version)))
    before = labelled_rows(workplace.store.datasets.get(spec.dataset, spec.version), None)
    learnt = set(before.texts(np.flatnonzero(before.split.parts != TEST)))
    data = labelled_rows(later, None)
    tested = data.texts(data.split.rows(TEST))
    kept = [text for text in tested if text not in learnt]
    assert 0 < len(kept) < len(tested)
    assert (head["metrics"]["rows"], head["origin"]["learnt_rows"]) == (len(kept), len(tested) - len(kept))
    assert page_of(workplace.store, head["head_id"])  # finds the same rows again

    options = FineTuneOptions(encoder=first.id, epochs=1, batch_size=8, max_length=32)
    second = workplace.finished(FineTune(dataset="later", version=later.version, options=options))
    assert result(second)["origin"]["learnt_rows"] == len(tested) - len(kept)
    known = learnt_by(workplace.store, second.id)
    trained = [text for text, part in zip(data.texts(), data.split.parts, strict=True) if part != TEST]
    assert set(known.tolist()) == set(short_keys(text_keys(learnt | set(trained))).tolist())


def test_predictions_by_a_model_report_tokens_for_the_eta(workplace: Workplace, encoder: str) -> None:
    model = workplace.finished(fine_tune(workplace, encoder)).id
    texts = [("a menu " * n, str(n)) for n in range(1, 500)]
    new = workplace.imported(csv_of(texts, "text,id"), "new", unlabelled=True)
    job, _ = JobBook(workplace.client).create(Predict(dataset=new.name, version=new.version, model=model))
    workplace.work_on(job, "cpu")
    runtime = workplace.runtime("gpu")
    lease = runtime.ledger.next(job)
    assert lease is not None
    held = HeldLease(lease)
    work = work_for(lease, runtime)
    outcome = work.publish(work.compute(work.prepare(), held))
    assert held.live["tokens"] == held.live["chunk_tokens"] == outcome.counts["tokens"] > held.live["texts"]
    assert held.live["chunk_estimated"] == outcome.counts["estimated_done"]
    running = replace(JobBook(workplace.client).job(job), live=[held.live], workers=["worker"])
    left = running.counts["estimated_tokens"] * held.live["tokens"] / held.live["chunk_estimated"] - held.live["tokens"]
    assert progress_of(running).eta_s == pytest.approx(left * held.live["device_s"] / held.live["tokens"])


class _Interrupted(Exception):
    """Simulates the end of the process."""


def interrupted(workplace: Workplace, job: str, at_step: int, error: type[Exception]) -> list[int]:
    """A worker's attempt at the job that ends at this step; the steps that it reported."""
    runtime = workplace.runtime("gpu")
    lease = runtime.ledger.next(job)
    assert lease is not None
    assert isinstance(lease.spec, FineTune)
    steps: list[int] = []

    class Ending(HeldLease):
        def report(self, **facts: Any) -> None:
            steps.append(facts["step"])
            if facts["step"] >= at_step:
                raise error(job)

    work = work_of(job, lease.spec, runtime)
    with pytest.raises(error):
        work.compute(work.prepare(), Ending(lease))
    runtime.ledger.release(lease, "test")
    return steps


def work_of(job: str, spec: FineTune, runtime: Runtime) -> FineTuneWork:
    return FineTuneWork(ChunkContext(job=job, chunk=0, spec=spec, runtime=runtime))


def test_a_killed_fine_tune_resumes_and_ends_as_the_undisturbed_one(workplace: Workplace, encoder: str) -> None:
    spec = fine_tune(workplace, encoder, checkpoint_every_s=0.0)
    undisturbed = result(workplace.finished(spec))
    job, _ = workplace.jobbook.create(spec)
    interrupted(workplace, job, 6, _Interrupted)
    found = result(workplace.worked(job))
    assert found["resumed"] == 1
    assert found["metrics"] == undisturbed["metrics"]


@pytest.mark.parametrize("stop", [Draining, Preempted])
def test_a_worker_that_must_stop_saves_a_checkpoint_first(
    workplace: Workplace, encoder: str, stop: type[Draining]
) -> None:
    job, _ = workplace.jobbook.create(fine_tune(workplace, encoder))
    interrupted(workplace, job, 3, stop)
    assert list(workplace.runtime("gpu").job_files.folder(job).glob("checkpoints/*/checkpoint-3/jdq-seal.json"))
    found = result(workplace.worked(job))
    assert (found["resumed"], found["steps"]) == (1, 10)
    assert not list(workplace.runtime("gpu").job_files.folder(job).glob("checkpoints/*"))


def test_a_published_model_is_not_trained_again(workplace: Workplace, encoder: str) -> None:
    spec = fine_tune(workplace, encoder)
    job, _ = workplace.jobbook.create(spec)
    runtime = workplace.runtime("gpu")
    lease = runtime.ledger.next(job)
    assert lease is not None
    work = work_of(job, spec, runtime)
    work.compute(work.prepare(), HeldLease(lease))  # and dies before its commit
    runtime.ledger.release(lease, "test")
    weights = Models(workplace.store.root).path(job) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    result(workplace.worked(job))
    assert weights.stat().st_mtime_ns == before


def test_progress_shows_epoch_step_loss_and_eta(workplace: Workplace, encoder: str) -> None:
    from jdq.cli.jobs.progress import progress_of
    from jdq.cli.jobs.summary import summary

    job, _ = workplace.jobbook.create(fine_tune(workplace, encoder, epochs=40))
    worker = threading.Thread(target=workplace.work_on, args=(job, "gpu"))
    worker.start()
    until(lambda: progress_of(workplace.jobbook.job(job)).loss is not None, why="a loss is reported")
    found = workplace.jobbook.job(job)
    progress = progress_of(found)
    workplace.jobbook.cancel(job)
    worker.join()
    assert progress.steps_total == 200
    assert progress.epochs == 40
    assert "loss" in summary(found)
    assert "ETA" in summary(found)
    assert workplace.jobbook.job(job).state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("options", "word"), [({"encoder": "/no/such/folder"}, "no folder"), ({"freeze": "9"}, "1 layers")]
)
def test_what_cannot_be_fine_tuned_fails_immediately(
    workplace: Workplace, encoder: str, options: dict[str, Any], word: str
) -> None:
    job = workplace.finished(fine_tune(workplace, options.pop("encoder", encoder), **options))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert word in job.error.message
    assert not Path(Models(workplace.store.root).place(job.id)).exists()
