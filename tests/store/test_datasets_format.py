"""A dataset version is what docs/reference/dataset-format.md says, read here without jdq; version 1 stays readable."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jdq.store.datasets import Datasets

FROZEN = Path(__file__).parent / "frozen"
ROWS = [
    ("01", 'She said "no", twice,\nand left.', "a"),
    ("02", "π ☕ 직무", "2   "),
    ("03", " NA ", "a"),
    ("04", "π ☕ 직무", "2   "),
]


def blake2b(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@pytest.fixture(params=["frozen", "made now"])
def version(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "frozen":
        return next((FROZEN / "datasets" / "odd").iterdir())
    made = Datasets(tmp_path).import_table(FROZEN / "odd.csv")
    return made.path


def test_the_version_of_the_frozen_table_is_still_its_name(tmp_path: Path) -> None:
    frozen = next((FROZEN / "datasets" / "odd").iterdir())
    assert Datasets(tmp_path).import_table(FROZEN / "odd.csv").version == frozen.name


def test_the_table_is_plain_parquet(version: Path) -> None:
    table = pq.read_table(version / "table.parquet", page_checksum_verification=True)
    assert [(str(field.type), field.nullable) for field in table.schema] == [("string", False)] * 3
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    metadata = pq.read_metadata(version / "table.parquet")
    assert metadata.metadata is None
    assert not any(metadata.row_group(0).column(n).is_stats_set for n in range(3))
    assert not any(metadata.row_group(0).column(n).has_dictionary_page for n in range(3))


@pytest.mark.parametrize(("width", "compression"), [(1000, "ZSTD"), (1001, "SNAPPY")])
def test_a_table_of_many_columns_is_compressed_by_what_needs_no_setting_up(
    tmp_path: Path, width: int, compression: str
) -> None:
    row = [str(n) for n in range(width)]
    (tmp_path / "wide.csv").write_text("\n".join([",".join(["text", *row[1:]]), ",".join(row)]) + "\n")
    path = Datasets(tmp_path).import_table(tmp_path / "wide.csv").path / "table.parquet"
    assert pq.read_metadata(path).row_group(0).column(0).compression == compression
    assert list(pq.read_table(path).to_pylist()[0].values()) == row


def test_the_arrays_hold_the_key_and_the_length_of_each_text(version: Path) -> None:
    texts = [row[1].encode() for row in ROWS]
    keys = np.load(version / "keys.npy", allow_pickle=False)
    assert [bytes(key) for key in keys] == [hashlib.blake2b(text, digest_size=16).digest() for text in texts]
    lengths = np.load(version / "n_bytes.npy", allow_pickle=False)
    assert (lengths.dtype, lengths.tolist()) == (np.dtype("<u4"), [len(text) for text in texts])


def test_the_digests_are_those_that_the_document_defines(version: Path) -> None:
    record = json.loads((version / "dataset.json").read_bytes())
    stream = b""
    for cells in (["jdq-dataset-1", "text", "label", "id", "text", "label"], *ROWS):
        encoded = [cell.encode() for cell in cells]
        stream += struct.pack(f"<{len(encoded)}I", *map(len, encoded)) + b"".join(encoded)
    assert record["digest"] == blake2b(stream)
    assert version.name == record["digest"][:12]
    assert record["classes"] == {"2   ": 2, "a": 2}
    assert (record["n_rows"], record["n_texts"], record["n_unlabelled"]) == (4, 3, 0)
    for name in ("table.parquet", "keys.npy", "n_bytes.npy"):
        data = (version / name).read_bytes()
        assert record["files"][name] == {"size_bytes": len(data), "blake2b": blake2b(data)}
    data = (version / "table.parquet").read_bytes()
    assert record["footer"] == blake2b(data[-8 - int.from_bytes(data[-8:-4], "little") :])
    bare = json.dumps(record | {"self_digest": ""}, ensure_ascii=False, separators=(",", ":"))
    assert record["self_digest"] == blake2b(bare.encode())


def test_the_frozen_version_reads() -> None:
    version = Datasets(FROZEN).get("odd")
    assert version.texts() == [row[1] for row in ROWS]
    assert version.labels().tolist() == [row[2] for row in ROWS]
    assert version.verify() == []
    assert version.source.file == "odd.csv"
