"""Splits are stored once for a label column, and come back as they were or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.store.datasets import DamagedDataset, Datasets, DatasetVersion, InvalidName, NoLabels, UnknownColumn
from jdq.store.datasets.records import DamagedSplit, split_digest
from jdq.store.files.digests import array_pieces
from jdq.store.table import TableOptions


def split_of(*parts: int, **fields: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """The parts and the fields of a split."""
    return np.array(parts, dtype=np.uint8), fields


@pytest.fixture
def version(tmp_path: Path) -> DatasetVersion:
    (tmp_path / "data.csv").write_text("text,label,../odd name\na,1,x\nb,2,y\nc,1,x\nd,2,y\n")
    return Datasets(tmp_path / "store").import_table(tmp_path / "data.csv")


def test_a_split_comes_back_with_its_fields(version: DatasetVersion) -> None:
    assert version.get_split() is None
    version.put_split(None, *split_of(0, 1, 2, 0, seed=7, warnings=["w"]))
    stored = version.get_split("label")
    assert stored is not None
    assert stored.parts.tolist() == [0, 1, 2, 0]
    assert stored.parts.dtype == np.uint8
    assert stored.record.fields == {"seed": 7, "warnings": ["w"]}


def test_the_first_split_stays_and_is_what_a_second_put_gives(version: DatasetVersion) -> None:
    version.put_split("label", *split_of(0, 1, 2, 0, seed=1))
    again = version.put_split("label", *split_of(2, 2, 2, 0, seed=2))
    assert again.parts.tolist() == [0, 1, 2, 0]
    assert again.record.fields == {"seed": 1}


def test_each_label_column_and_name_has_its_own_split(version: DatasetVersion) -> None:
    version.put_split("label", *split_of(0, 0, 0, 0))
    assert version.put_split("../odd name", *split_of(1, 1, 1, 1)).record.label_column == "../odd name"
    version.put_split("label", *split_of(2, 2, 2, 2), name="seed-7")
    found = [version.get_split("label"), version.get_split("../odd name"), version.get_split("label", name="seed-7")]
    assert [int(split.parts[0]) for split in found if split is not None] == [0, 1, 2]
    assert {path.parent for path in version.path.rglob("*.npy")} == {version.path, version.path / "splits"}


@pytest.mark.parametrize("parts", [[0, 1, 2], [0, 1, 2, 3], [[0, 1, 2, 0]]])
def test_a_split_that_does_not_fit_is_refused(version: DatasetVersion, parts: list[int]) -> None:
    with pytest.raises(ValueError, match="for each of 4 rows"):
        version.put_split("label", np.array(parts, dtype=np.uint8), {})
    with pytest.raises(ValueError, match="uint8"):
        version.put_split("label", np.array([0, 1, 2, 0]), {})
    assert not (version.path / "splits").exists()


def test_columns_and_names_are_checked(version: DatasetVersion, tmp_path: Path) -> None:
    with pytest.raises(UnknownColumn, match="no column 'none'"):
        version.get_split("none")
    for name in ("", "../x", "A", "x" * 65, "a.b"):
        with pytest.raises(InvalidName):
            version.get_split("label", name=name)
    unlabelled = Datasets(tmp_path).import_table(tmp_path / "data.csv", options=TableOptions(unlabelled=True))
    with pytest.raises(NoLabels):
        unlabelled.get_split()


def test_a_damaged_split_is_an_error(version: DatasetVersion) -> None:
    stored = version.put_split("label", *split_of(0, 1, 2, 0))
    array = version.path / "splits" / f"{stored.record.digest}.npy"
    whole = array.read_bytes()
    for data in (whole[:-1], whole[:-1] + b"\2", whole[:30], b""):
        array.write_bytes(data)
        with pytest.raises(DamagedDataset):
            version.get_split("label")
    array.unlink()
    with pytest.raises(DamagedDataset):
        version.get_split("label")


@pytest.mark.parametrize("parts", [[0, 1, 2, 1], [0, 1, 2], [[0, 1, 2, 0]]])
def test_another_sound_array_in_the_place_of_a_split_is_damage(version: DatasetVersion, parts: list[int]) -> None:
    stored = version.put_split("label", *split_of(0, 1, 2, 0))
    array = version.path / "splits" / f"{stored.record.digest}.npy"
    array.write_bytes(b"".join(array_pieces(np.array(parts, dtype=np.uint8))))
    with pytest.raises(
        DamagedSplit, match=f"damaged split .*/{stored.record.digest}.npy: it has changed since it was written"
    ):
        version.get_split("label")
    array.unlink()
    with pytest.raises(DamagedSplit, match=f"splits/{array.name}: No such file"):
        version.get_split("label")


def test_a_split_is_stored_under_the_digest_of_its_column_and_its_name(version: DatasetVersion) -> None:
    stored = version.put_split("label", *split_of(0, 1, 2, 0), name="seed-7")
    assert (stored.record.label_column, stored.record.name) == ("label", "seed-7")
    assert sorted(path.name for path in (version.path / "splits").iterdir()) == [
        "5cdb8ec2ae9dbb97.seed-7.json",
        "9ef2df416e91203642051aa86f294c4c.npy",
    ]


def test_a_split_that_is_removed_while_it_is_stored_is_damage(
    version: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DatasetVersion, "get_split", lambda *_, **__: None)
    with pytest.raises(DamagedSplit, match="the split of 'label' was removed while it was stored"):
        version.put_split("label", *split_of(0, 1, 2, 0))


def test_a_pickle_in_the_place_of_a_split_is_not_loaded(version: DatasetVersion) -> None:
    stored = version.put_split("label", *split_of(0, 1, 2, 0))
    np.save(version.path / "splits" / f"{stored.record.digest}.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedDataset):
        version.get_split("label")


def test_the_split_of_another_column_is_not_taken_for_this_ones(version: DatasetVersion) -> None:
    version.put_split("label", *split_of(0, 1, 2, 0))
    (label,) = (version.path / "splits").glob("*.json")
    version.put_split("text", *split_of(0, 0, 0, 0))
    (text,) = set((version.path / "splits").glob("*.json")) - {label}
    text.write_bytes(label.read_bytes())
    with pytest.raises(DamagedDataset, match=f"damaged split .*: splits/{text.name}: it is the split of 'label'"):
        version.get_split("text")


def test_a_digest_in_a_split_cannot_lead_out_of_the_folder(version: DatasetVersion) -> None:
    stored = version.put_split("label", *split_of(0, 1, 2, 0))
    (record,) = (version.path / "splits").glob("*.json")
    found = json.loads(record.read_bytes()) | {"digest": "../" + stored.record.digest[3:]}
    record.write_text(json.dumps({name: value for name, value in found.items() if name != "self_digest"}))
    with pytest.raises(DamagedDataset, match="regex"):
        version.get_split("label")


def test_the_digest_of_a_split_is_pinned() -> None:
    """Stored splits, and the records of heads and models, are named by it."""
    assert split_digest(np.array([0, 1, 2, 0], dtype=np.uint8)) == "9ef2df416e91203642051aa86f294c4c"
