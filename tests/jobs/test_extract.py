"""Extraction: row i of the features is row i of the table, and a text is computed once."""

import itertools
import random
import shutil
from typing import Any

import msgspec
import numpy as np
import pytest

from jdq.worker.encoder.by_name import fastest_precision
from jdq.worker.encoder.errors import NotFiniteFeatures
from jdq.worker.encoder.hashing import HashedTexts, HashEncoder, hashed_feature
from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.jobs.plan import chunk_bounds, first_rows, planned_rows
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.queue.contract import Extract, JobState
from tests.jobs.conftest import Workplace

DIM = 16


def table(texts: list[str]) -> str:
    return "text,label\n" + "".join(f'"{text}",{"ab"[i % 2]}\n' for i, text in enumerate(texts))


def extract(workplace: Workplace, texts: list[str], name: str = "table") -> Extract:
    version = workplace.imported(table(texts), name)
    return Extract(dataset=version.name, version=version.version, encoder=f"hash:{DIM}")


def expected(texts: list[str]) -> np.ndarray:
    return np.array([hashed_feature(text, DIM) for text in texts], dtype=np.float16)


def test_ten_thousand_rows_with_repeats_keep_their_places(workplace: Workplace) -> None:
    rng = random.Random(7)
    texts = [f"posting {rng.randrange(7000)} " + "x" * rng.randrange(200) * (n % 3) for n in range(10_000)]
    job = workplace.finished(extract(workplace, texts))
    assert job.state is JobState.SUCCEEDED
    assert job.chunks_total > 10
    X, y, stored = workplace.store.load("table")
    assert stored == texts
    np.testing.assert_array_equal(X, expected(texts))
    assert list(y[:3]) == ["a", "b", "a"]
    assert job.counts["computed"] == len(set(texts))
    assert job.counts["computed"] + job.counts["reused"] == job.counts["texts_done"] == len(texts)


def test_only_texts_that_the_store_lacks_are_computed(workplace: Workplace) -> None:
    texts = [f"text {n}" for n in range(300)]
    workplace.finished(extract(workplace, texts))
    shuffled = random.Random(1).sample(texts, len(texts))
    again = workplace.finished(extract(workplace, shuffled, "other-file"))
    assert (again.counts.get("computed", 0), again.counts["reused"]) == (0, 300)
    more = workplace.finished(extract(workplace, [*shuffled, "new 1", "new 2"], "grown"))
    assert (more.counts["computed"], more.counts["reused"]) == (2, 300)
    np.testing.assert_array_equal(workplace.store.load("grown")[0], expected([*shuffled, "new 1", "new 2"]))


def test_two_jobs_planned_at_the_same_time_do_not_compute_a_text_twice(workplace: Workplace) -> None:
    spec = extract(workplace, [f"text {n}" for n in range(200)])
    jobs = [workplace.jobbook.create(spec)[0] for _ in range(2)]
    for job in jobs:
        workplace.work_on(job, "cpu")
    for job in jobs:
        workplace.work_on(job, "gpu")
    first, second = (workplace.jobbook.job(job).counts for job in jobs)
    assert (first["computed"], second["computed"], second["reused"]) == (200, 0, 200)


def test_a_plan_that_is_made_again_is_the_first_one(workplace: Workplace) -> None:
    spec = extract(workplace, [f"text {n}" for n in range(500)])
    job, _ = workplace.jobbook.create(spec)
    runtime = workplace.runtime("cpu")
    runtime.job_files.put_array(job, "rows", np.arange(500))  # a worker that died before it stored the bounds
    workplace.work_on(job, "cpu")
    workplace.work_on(job, "gpu")
    np.testing.assert_array_equal(workplace.store.load("table")[0], expected([f"text {n}" for n in range(500)]))


def test_an_encoder_whose_files_changed_after_the_plan_is_refused(workplace: Workplace) -> None:
    folder = make_tiny_bart(workplace.folder / "tiny", dim=16, layers=1, seed=0)
    version = workplace.imported(table(["a text", "another"]))
    job, _ = workplace.jobbook.create(Extract(dataset=version.name, version=version.version, encoder=str(folder)))
    workplace.work_on(job, "cpu")
    shutil.rmtree(folder)
    make_tiny_bart(folder, dim=16, layers=1, seed=1)
    workplace.work_on(job, "gpu")
    failed = workplace.jobbook.job(job)
    assert failed.error is not None
    assert failed.error.type == "EncoderChanged"
    assert workplace.store.spaces()[0].missing(version.keys()).all()


def test_a_text_of_just_the_maximum_length_is_not_truncated(workplace: Workplace) -> None:
    spec = extract(workplace, ["12345", "123456", "1234567", "1234"])  # a token of this encoder is a byte
    job = workplace.finished(msgspec.structs.replace(spec, max_length=5))
    assert (job.counts["truncated"], job.counts["tokens"]) == (2, 5 + 5 + 5 + 4)


@pytest.mark.parametrize("encoder", ["hash:many", "hash:0", "hash:10000", "hash:8:0.5"])
def test_an_encoder_that_is_not_there_fails_the_job_with_what_to_do(workplace: Workplace, encoder: str) -> None:
    version = workplace.imported(table(["a text", "another"]))
    job = workplace.finished(Extract(dataset=version.name, version=version.version, encoder=encoder))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert "try: hash:64" in job.error.message


def test_a_text_counts_as_truncated_from_one_token_over_the_limit_on(workplace: Workplace) -> None:
    version = workplace.imported(table(["x" * length for length in (9, 10, 11, 12)]))
    spec = Extract(dataset=version.name, version=version.version, encoder="hash:8", max_length=10)
    counts = workplace.finished(spec).counts
    assert (counts["truncated"], counts["tokens"]) == (2, 9 + 10 + 10 + 10)


@pytest.fixture
def broken_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts with the word "broken" have no finite feature."""
    encode = HashEncoder.encode

    def faulty(self: HashEncoder, tokens: HashedTexts, **options: Any) -> np.ndarray:
        if bad := [position for position, text in enumerate(tokens.texts) if "broken" in text]:
            raise NotFiniteFeatures(bad, "float32")
        return encode(self, tokens, **options)

    monkeypatch.setattr(HashEncoder, "encode", faulty)


@pytest.mark.usefixtures("broken_texts")
def test_a_text_without_a_finite_feature_is_named_and_takes_no_other_down(workplace: Workplace) -> None:
    texts = [f"text {n}" for n in range(50)]
    texts[6] = texts[31] = "broken text"
    texts[40] = "another broken text"
    version = workplace.imported(table(texts))
    spec = Extract(dataset=version.name, version=version.version, encoder=f"hash:{DIM}")
    failed = workplace.finished(spec)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert "rows 7, 41 of table" in failed.error.message
    space = workplace.store.spaces()[0]
    good = np.array(["broken" not in text for text in texts])
    np.testing.assert_array_equal(space.missing(version.keys()), ~good)

    skipped = workplace.finished(msgspec.structs.replace(spec, on_error="skip"))
    assert skipped.state is JobState.SUCCEEDED
    assert skipped.counts["skipped"] == 2
    np.testing.assert_array_equal(space.read(version.keys()[good]), expected(texts)[good])


@pytest.mark.parametrize("chunk_tokens", [1, 10, 1000])
def test_chunks_hold_the_rows_in_order_within_their_bound(chunk_tokens: int) -> None:
    tokens = np.random.default_rng(3).integers(2, 40, size=500)
    bounds = chunk_bounds(tokens, chunk_tokens)
    assert (bounds[0], bounds[-1]) == (0, 500)
    assert (np.diff(bounds) > 0).all()
    for start, stop in itertools.pairwise(bounds):
        assert stop - start == 1 or tokens[start:stop].sum() <= chunk_tokens
    assert list(chunk_bounds(np.array([], dtype=np.int64), 10)) == [0]


def test_a_plan_is_read_once_for_all_of_its_chunks(workplace: Workplace) -> None:
    runtime, spec = workplace.runtime("cpu"), Extract(dataset="d", version="v", encoder="hash:8")
    for name, array in (("rows", np.arange(10, 15)), ("bounds", np.array([0, 2, 5]))):
        runtime.job_files.put_array("job", name, array)
    first, second = (ChunkContext(job="job", chunk=chunk, spec=spec, runtime=runtime) for chunk in (1, 2))
    assert planned_rows(first).tolist() == [10, 11]
    shutil.rmtree(runtime.job_files.folder("job"))
    assert planned_rows(second).tolist() == [12, 13, 14]


def test_the_first_row_of_each_text_is_the_one_that_is_computed() -> None:
    keys = np.array([[3] * 16, [1] * 16, [3] * 16, [2] * 16, [1] * 16], dtype=np.uint8)
    assert first_rows(keys).tolist() == [0, 1, 3]


def test_several_poolings_come_from_one_pass_each_into_its_own_space(workplace: Workplace) -> None:
    folder = make_tiny_bart(workplace.folder / "tiny", dim=16, layers=1)
    version = workplace.imported(table(["a text", "another", "a third one"]))
    spec = Extract(dataset=version.name, version=version.version, encoder=str(folder))
    one = workplace.finished(spec)
    assert one.result is not None
    assert (one.result["pooling"], one.result["spaces"]) == ("cls", {"cls": one.result["space"]})
    assert one.result["pooling_reason"].startswith("the default")

    both = workplace.finished(msgspec.structs.replace(spec, pooling=("mean", "cls")))
    assert both.result is not None
    assert (both.counts["computed"], both.counts["reused"]) == (3, 0)
    assert both.result["spaces"]["cls"] == one.result["space"]
    assert both.result["space"] == both.result["spaces"]["mean"]
    assert [record.space for record in version.spaces()] == [both.result["spaces"][name] for name in ("mean", "cls")]
    spaces = {space.definition.pooling: space for space in workplace.store.spaces()}
    assert sum(1 for _ in workplace.store.root.rglob("*.h5")) == 2  # position 0 was there
    encoder = load_encoder(str(folder), poolings=("mean",))
    expected_means = encoder.encode(encoder.tokenize(["a text", "another", "a third one"])).astype(np.float16)
    np.testing.assert_allclose(spaces["mean"].read(version.keys()), expected_means, atol=2e-3)
    assert not spaces["cls"].missing(version.keys()).any()

    again = workplace.finished(msgspec.structs.replace(spec, pooling=("cls", "mean")))
    assert (again.counts.get("computed", 0), again.counts["reused"]) == (0, 3)
    assert version.spaces()[0].space == one.result["space"]


def test_a_plan_of_an_earlier_version_names_one_space(workplace: Workplace) -> None:
    spec = extract(workplace, ["a text", "another"])
    job, _ = workplace.jobbook.create(spec)
    workplace.work_on(job, "cpu")
    file = next((workplace.store.root / "runs" / job).glob("result.json"))
    plan = msgspec.json.decode(file.read_bytes())
    del plan["spaces"], plan["self_digest"]  # an earlier version wrote neither
    file.write_bytes(msgspec.json.encode(plan))
    workplace.work_on(job, "gpu")
    np.testing.assert_array_equal(workplace.store.load("table")[0], expected(["a text", "another"]))


def test_fast_names_the_precision_that_it_took(workplace: Workplace) -> None:
    folder = make_tiny_bart(workplace.folder / "tiny", dim=64, layers=1)
    version = workplace.imported(table(["a text", "another"]))
    spec = Extract(dataset=version.name, version=version.version, encoder=str(folder), precision="fast")
    job = workplace.finished(spec)
    assert job.state is JobState.SUCCEEDED
    assert job.result is not None
    assert job.result["precision"] == fastest_precision(str(folder), "cpu", ("cls",))
    assert not workplace.store.open_space(job.result["space"]).missing(version.keys()).any()
