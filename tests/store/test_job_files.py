"""Results and arrays of jobs: put once, read by job id."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from jdq.store.job_files import InvalidJob, JobFiles, NoResult


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(tmp_path)


class Result(msgspec.Struct):
    computed: int
    reused: int


def test_a_result_comes_back(files: JobFiles) -> None:
    assert files.put_result("j-1", Result(computed=3, reused=4))
    assert files.put_result("j2", {"nested": {"a": [1, None, "é"]}})
    assert files.get_result("j-1") == {"computed": 3, "reused": 4}
    assert files.get_result("j2") == {"nested": {"a": [1, None, "é"]}}


def test_what_was_put_first_stays(files: JobFiles) -> None:
    files.put_result("j", {"a": 1})
    assert not files.put_result("j", {"a": 2})
    assert files.get_result("j") == {"a": 1}
    files.put_array("j", "rows", np.arange(3))
    assert not files.put_array("j", "rows", np.arange(4))
    assert files.get_array("j", "rows").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "array", [np.arange(5), np.zeros((0, 2)), np.array([[1.5]], np.float16), np.array(["a", "π "])]
)
def test_an_array_comes_back_with_its_shape_and_type(files: JobFiles, array: np.ndarray) -> None:
    files.put_array("j", "a", array)
    found = files.get_array("j", "a")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert found.shape == array.shape


def test_arrays_of_objects_are_refused(files: JobFiles, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        files.put_array("j", "a", np.array([{}], dtype=object))
    files.put_array("j", "b", np.arange(2))
    np.save(tmp_path / "runs" / "j" / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(NoResult, match="damaged"):
        files.get_array("j", "b")


def test_what_is_not_there_is_an_error_with_the_next_command(files: JobFiles) -> None:
    with pytest.raises(NoResult, match="job j has no result in the store\n  try: jdq status j"):
        files.get_result("j")
    with pytest.raises(NoResult, match="job j has no array 'rows'"):
        files.get_array("j", "rows")


@pytest.mark.parametrize("job", ["", ".", "..", "../x", "a/b", "/etc", "-x", "a.b", "x" * 65, "a\n", "a\0", "é"])
def test_no_job_id_leads_out_of_the_folder(files: JobFiles, job: str, tmp_path: Path) -> None:
    for call in (
        files.get_result,
        files.folder,
        lambda job: files.get_array(job, "a"),
        lambda job: files.put_result(job, {}),
    ):
        with pytest.raises(InvalidJob):
            call(job)
    with pytest.raises(InvalidJob):
        files.get_array("j", f"../{job}")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_result_is_an_error_that_names_its_file(files: JobFiles) -> None:
    files.put_result("j", {})
    path = files.folder("j") / "result.json"
    path.write_text("{")
    with pytest.raises(NoResult, match=f"the result of job j is damaged: {path}"):
        files.get_result("j")
