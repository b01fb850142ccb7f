"""Results and arrays of jobs: put once, read by job id."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from jdq.store.job_files import InvalidJob, NoResult, Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


class Result(msgspec.Struct):
    computed: int
    reused: int


def test_a_result_comes_back(runs: Runs) -> None:
    assert runs.put_result("j-1", Result(computed=3, reused=4))
    assert runs.put_result("j2", {"nested": {"a": [1, None, "é"]}})
    assert runs.get_result("j-1") == {"computed": 3, "reused": 4}
    assert runs.get_result("j2") == {"nested": {"a": [1, None, "é"]}}


def test_what_was_put_first_stays(runs: Runs) -> None:
    runs.put_result("j", {"a": 1})
    assert not runs.put_result("j", {"a": 2})
    assert runs.get_result("j") == {"a": 1}
    runs.put_array("j", "rows", np.arange(3))
    assert not runs.put_array("j", "rows", np.arange(4))
    assert runs.get_array("j", "rows").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "array", [np.arange(5), np.zeros((0, 2)), np.array([[1.5]], np.float16), np.array(["a", "π "])]
)
def test_an_array_comes_back_with_its_shape_and_type(runs: Runs, array: np.ndarray) -> None:
    runs.put_array("j", "a", array)
    found = runs.get_array("j", "a")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert found.shape == array.shape


def test_arrays_of_objects_are_refused(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        runs.put_array("j", "a", np.array([{}], dtype=object))
    runs.put_array("j", "b", np.arange(2))
    np.save(tmp_path / "runs" / "j" / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(NoResult, match="damaged"):
        runs.get_array("j", "b")


def test_what_is_not_there_is_an_error_with_the_next_command(runs: Runs) -> None:
    with pytest.raises(NoResult, match="job j has no result in the store\n  try: jdq status j"):
        runs.get_result("j")
    with pytest.raises(NoResult, match="job j has no array 'rows'"):
        runs.get_array("j", "rows")


@pytest.mark.parametrize("job", ["", ".", "..", "../x", "a/b", "/etc", "-x", "a.b", "x" * 65, "a\n", "a\0", "é"])
def test_no_job_id_leads_out_of_the_folder(runs: Runs, job: str, tmp_path: Path) -> None:
    for call in (
        runs.get_result,
        runs.folder,
        lambda job: runs.get_array(job, "a"),
        lambda job: runs.put_result(job, {}),
    ):
        with pytest.raises(InvalidJob):
            call(job)
    with pytest.raises(InvalidJob):
        runs.get_array("j", f"../{job}")
    assert list(tmp_path.iterdir()) == []
