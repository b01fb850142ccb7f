"""Heads and fine-tuned models as files: listed, read without predicting, removed and copied."""

import json
import resource
from pathlib import Path

import pytest

from jdq.store.errors import CannotWrite
from jdq.store.trained import CannotCopy, DamagedRecord, Heads, Models, UnknownTrained


def head_file(record: dict[str, object]) -> bytes:
    """As safetensors lays it out: the header's length, the header, and no arrays."""
    header = json.dumps({"__metadata__": {"head": json.dumps({"record": record})}}).encode()
    return len(header).to_bytes(8, "little") + header


@pytest.fixture
def heads(tmp_path: Path) -> Heads:
    return Heads(tmp_path / "store")


@pytest.fixture
def models(tmp_path: Path) -> Models:
    found = Models(tmp_path / "store")
    folder = found.place("fine-tune-a")
    folder.mkdir(parents=True)
    (folder / "jdq.json").write_text('{"steps": 3}')
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    return found


def test_a_head_is_stored_once_and_its_record_is_read_from_the_header(heads: Heads) -> None:
    assert heads.put("train-head-a", head_file({"head": "logreg"}))
    assert not heads.put("train-head-a", head_file({"head": "svm"}))
    assert heads.record("train-head-a") == {"head": "logreg"}
    assert heads.ids() == ["train-head-a"]
    assert heads.size_bytes("train-head-a") > 50


def test_what_is_not_there_is_said_with_the_next_command(heads: Heads, models: Models) -> None:
    with pytest.raises(UnknownTrained, match="the store has none yet\n  try: jdq submit train-head"):
        heads.path("train-head-x")
    with pytest.raises(UnknownTrained, match="try: jdq models ls"):
        models.record("fine-tune-x")
    for name in ("../store", "", "a/b", ".hidden", "x" * 99):
        assert not models.has(name)
        with pytest.raises(UnknownTrained):
            models.path(name)


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, head_file({})[:-5], b"\x02\0\0\0\0\0\0\0{}"])
def test_a_head_that_is_no_head_is_an_error_that_names_it(heads: Heads, data: bytes) -> None:
    heads.put("train-head-b", head_file({}))
    heads.place("train-head-b").write_bytes(data)
    with pytest.raises(DamagedRecord, match="jdq heads rm train-head-b"):
        heads.record("train-head-b")


def test_a_model_is_a_folder_and_serves_as_an_encoder_by_its_id(models: Models) -> None:
    assert models.record("fine-tune-a") == {"steps": 3}
    assert models.size_bytes("fine-tune-a") == 112
    assert models.encoder("fine-tune-a") == str(models.path("fine-tune-a"))
    assert models.encoder("facebook/bart-base") == "facebook/bart-base"


def test_an_unfinished_model_is_not_listed(models: Models) -> None:
    models.place("fine-tune-a").with_name(".fine-tune-b.123.partial").mkdir()
    assert models.ids() == ["fine-tune-a"]


def test_a_removal_takes_all_of_it(heads: Heads, models: Models) -> None:
    heads.put("train-head-a", head_file({}))
    heads.remove("train-head-a")
    models.remove("fine-tune-a")
    assert (heads.ids(), models.ids()) == ([], [])
    assert [path for trained in (heads, models) for path in trained.place("x").parent.iterdir()] == []


def test_an_export_is_complete_and_overwrites_nothing(heads: Heads, models: Models, tmp_path: Path) -> None:
    heads.put("train-head-a", head_file({}))
    heads.export("train-head-a", tmp_path / "head.safetensors")
    assert (tmp_path / "head.safetensors").read_bytes() == heads.place("train-head-a").read_bytes()
    models.export("fine-tune-a", tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["jdq.json", "model.safetensors"]
    with pytest.raises(CannotCopy, match="exists"):
        models.export("fine-tune-a", tmp_path / "model")
    with pytest.raises(CannotCopy, match="no such folder"):
        models.export("fine-tune-a", tmp_path / "no" / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.safetensors", "model", "store"]


def test_a_model_without_a_readable_record_is_an_error_that_names_it(models: Models) -> None:
    (models.path("fine-tune-a") / "jdq.json").write_text("{")
    with pytest.raises(DamagedRecord, match="jdq models rm fine-tune-a"):
        models.record("fine-tune-a")


@pytest.mark.parametrize("job", ["train-head-a", "fine-tune-a"])
def test_an_export_to_a_full_disk_leaves_nothing(heads: Heads, models: Models, tmp_path: Path, job: str) -> None:
    heads.put("train-head-a", head_file({"note": "x" * 5000}))
    (models.path("fine-tune-a") / "model.safetensors").write_bytes(bytes(5000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(CannotWrite):
            (heads if heads.has(job) else models).export(job, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
