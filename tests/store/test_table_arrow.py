"""Parquet and Arrow files, also those that `datasets` writes."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from jdq.store.datasets import Datasets
from jdq.store.table import TableError, TableOptions, open_table
from tests.store.conftest import Failing, error_of
from tests.written_tables import rows_of


def test_a_data_set_that_was_saved_to_disk_is_a_table(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}).save_to_disk(str(tmp_path / "set"))
    assert rows_of(open_table(tmp_path / "set")) == [("a", "0"), ("b", "1")]


def described_labels(labels: pa.Array, **feature: object) -> pa.Table:
    """A table as `datasets` writes it."""
    info = {"info": {"features": {"text": [{"dtype": "string"}], "label": {"_type": "ClassLabel", **feature}}}}
    table = pa.table({"text": ["a", "b", "c", "d"], "label": labels})
    return table.replace_schema_metadata({"huggingface": json.dumps(info)})


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_class_labels_of_a_hugging_face_data_set_are_imported_as_their_names(tmp_path: Path, ending: str) -> None:
    table = described_labels(pa.array([1, -1, 0, None]), names=["neg", "pos"])
    file = tmp_path / f"data.{ending}"
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write(table)
    if ending == "parquet":
        pq.write_table(table, file)
    version = Datasets(tmp_path / "store").import_table(file, options=TableOptions(missing_labels="keep"))
    assert list(version.labels(missing="keep")) == ["pos", "", "neg", ""]
    assert version.source.warnings == (
        f"{file}: column 'label' has class numbers, which are imported as the classes' names: neg, pos",
        f"{file}: rows 2, 4 without a label",
        f"{file}: 2 classes of one row, which a split cannot divide: 'neg', 'pos'",
    )


@pytest.mark.parametrize("number", [2, -2])
def test_a_class_label_without_a_name_is_refused(tmp_path: Path, number: int) -> None:
    pq.write_table(described_labels(pa.array([0, 1, 0, number]), names=["neg", "pos"]), tmp_path / "data.parquet")
    with pytest.raises(TableError, match=f"'label' has class {number}; the file names 2 classes, starting at 0"):
        rows_of(open_table(tmp_path / "data.parquet"))


@pytest.mark.parametrize(
    ("labels", "feature"),
    [
        (["1", "0", "1", "0"], {"names": ["neg", "pos"]}),
        ([1, 0, 1, 0], {"names": None}),
        ([1, 0, 1, 0], {"names": ["neg", "pos"], "_type": "Value"}),
    ],
)
def test_labels_that_are_not_described_as_classes_stay_as_they_are(
    tmp_path: Path, labels: list[object], feature: dict[str, object]
) -> None:
    pq.write_table(described_labels(pa.array(labels), **feature), tmp_path / "data.parquet")
    assert [label for _, label in rows_of(open_table(tmp_path / "data.parquet"))] == ["1", "0", "1", "0"]


def test_a_description_that_is_damaged_is_ignored(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "label": [0, 1]}).replace_schema_metadata({"huggingface": "{"})
    pq.write_table(table, tmp_path / "data.parquet")
    assert rows_of(open_table(tmp_path / "data.parquet")) == [("a", "0"), ("b", "1")]


def test_a_file_that_is_no_parquet(failing: Failing) -> None:
    assert failing("PAR1 or so", name="data.parquet").startswith("data.parquet is not a readable Parquet file")


def test_parquet_with_nested_columns_or_nul(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"text": ["a"], "label": [["x"]]}), file)
    assert "column 'label' is of type list" in error_of(file)
    pq.write_table(pa.table({"text": ["a", "b\0"], "label": ["x", "y"]}), file)
    assert error_of(file).startswith(f"{file} has NUL characters in row 2\n")


def test_a_categorical_column_of_parquet_is_its_text(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": pa.array(["x", "y"]).dictionary_encode()}), file)
    assert rows_of(open_table(file)) == [("a", "x"), ("b", "y")]


def test_an_arrow_file_and_a_stream_are_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "n": [1.5, None]})
    for name, writer in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        with writer(tmp_path / f"{name}.arrow", table.schema) as stream:
            stream.write(table.slice(0, 1))
            stream.write(table.slice(1))
        assert rows_of(open_table(tmp_path / f"{name}.arrow")) == [("a", "1.5"), ("b", "")]
    (tmp_path / "file.arrow").write_bytes(b"ARROW1 or so")
    assert error_of(tmp_path / "file.arrow").startswith(f"{tmp_path}/file.arrow is not a readable Arrow file: ")


def test_columns_without_any_name_are_numbered(tmp_path: Path) -> None:
    pq.write_table(pa.table([["a"], ["b"]], names=["", " "]), tmp_path / "data.parquet")
    table = open_table(tmp_path / "data.parquet", TableOptions(text_column="column_2"))
    assert table.names == ("column_1", "column_2")
    assert rows_of(table) == [("a", "b")]
