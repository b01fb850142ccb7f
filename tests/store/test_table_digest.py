"""The digest of records is blake2b-128 of their cells' lengths and bytes, however the records are added."""

import hashlib
import struct

import numpy as np
import pyarrow as pa
import pytest

from jdq.store.table.digest import RecordDigest

RECORDS = [["a", "", "영화"], ["", "", ""], ["x" * 300, "b", "\0"]]


def expected(records: list[list[str]]) -> str:
    data = b""
    for record in records:
        cells = [cell.encode() for cell in record]
        data += b"".join(struct.pack("<I", len(cell)) for cell in cells) + b"".join(cells)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def by_columns(digest: RecordDigest, records: list[list[str]]) -> None:
    columns = [pa.array(cells, pa.string()) for cells in zip(*records, strict=True)]
    lengths = np.array([[len(cell.encode()) for cell in record] for record in records], dtype="<u4")
    digest.add_columns(columns, lengths)


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], [["a"], [""], ["b"]], []])
def test_rows_and_columns_have_the_same_digest(records: list[list[str]]) -> None:
    rows, columns = RecordDigest(), RecordDigest()
    for record in records:
        rows.add(record)
    if records:
        by_columns(columns, records)
    assert rows.hexdigest() == columns.hexdigest() == expected(records)


def test_rows_and_columns_may_be_mixed() -> None:
    digest = RecordDigest()
    digest.add(["header"])
    by_columns(digest, RECORDS)
    by_columns(digest, RECORDS[:2])
    assert digest.hexdigest() == expected([["header"], *RECORDS, *RECORDS[:2]])


def test_no_two_sequences_look_alike() -> None:
    digests = set()
    sequences = [[["ab"]], [["a", "b"]], [["a"], ["b"]], [["", "ab"]], [["ab", ""]]]
    for sequence in sequences:
        digest = RecordDigest()
        for record in sequence:
            digest.add(record)
        digests.add(digest.hexdigest())
    assert len(digests) == len(sequences)
