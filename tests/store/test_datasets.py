"""Dataset versions: what was imported comes back, by rows, and only complete versions are visible."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdq.store.datasets import Datasets, DatasetVersion, InvalidName, NoLabels, UnknownColumn, UnknownDataset, name_from
from jdq.store.keys import text_keys
from jdq.store.table import TableOptions

KEEP = TableOptions(empty_text="keep", unlabelled=True)


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(tmp_path / "store")


def write(tmp_path: Path, content: str | bytes, name: str = "data.csv") -> Path:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def many(n: int) -> list[str]:
    """Texts of different lengths, some of them repeated."""
    return [f"text {i % (n - n // 10)} " + "word " * (i % 37) for i in range(n)]


def import_many(datasets: Datasets, tmp_path: Path, n: int) -> tuple[DatasetVersion, list[str]]:
    texts = many(n)
    lines = "".join(f"{text},class {i % 3}\n" for i, text in enumerate(texts))
    return datasets.import_table(write(tmp_path, "text,label\n" + lines)), texts


def test_row_i_is_row_i_of_the_file(datasets: Datasets, tmp_path: Path) -> None:
    version, texts = import_many(datasets, tmp_path, 5000)
    assert version.n_rows == 5000
    assert version.texts() == texts
    assert version.labels().tolist() == [f"class {i % 3}" for i in range(5000)]
    assert np.array_equal(version.keys(), text_keys(texts))
    assert version.keys() is version.keys()  # read and checked once
    assert version.n_bytes().tolist() == [len(text.encode()) for text in texts]
    assert version.n_texts == len(set(texts))
    assert version.classes == {"class 0": 1667, "class 1": 1667, "class 2": 1666}


def test_ranges_and_scattered_rows_are_those_of_all_rows(datasets: Datasets, tmp_path: Path) -> None:
    version, texts = import_many(datasets, tmp_path, 5000)
    for part in (slice(0, 0), slice(0, 1), slice(2040, 2060), slice(2048, 4096), slice(4990, 9999), slice(7, 4000, 3)):
        assert version.texts(part) == texts[part]
    assert version.texts(slice(None, None, -1)) == texts[::-1]
    rows = np.random.default_rng(0).integers(0, 5000, 300)
    assert version.texts(np.sort(rows)) == [texts[row] for row in np.sort(rows)]
    assert version.texts(rows.tolist()) == [texts[row] for row in rows]
    assert version.texts([]) == []


@pytest.mark.parametrize("rows", [[-1], [10], [0, 10**9]])
def test_a_row_that_is_not_there_is_an_error(datasets: Datasets, tmp_path: Path, rows: list[int]) -> None:
    version, _ = import_many(datasets, tmp_path, 10)
    with pytest.raises(IndexError, match="data has rows 0 to 9"):
        version.texts(rows)


cells = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(cells.map(lambda cell: f"t{cell}"), cells), min_size=1, max_size=30))
def test_any_text_comes_back_from_csv_to_dataset(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("d")
    with (folder / "data.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([("text", "other"), *rows])
    version = Datasets(folder).import_table(folder / "data.csv", options=KEEP)
    assert version.texts() == [row[0] for row in rows]
    assert version.cells("other") == [row[1] for row in rows]
    assert np.array_equal(version.keys(), text_keys(row[0] for row in rows))


def test_labels_stay_as_they_are_in_any_column(datasets: Datasets, tmp_path: Path) -> None:
    file = write(tmp_path, "text,label,other\na,01,x\nb,2   ,\nc,NA,y\nd,01,y\n")
    version = datasets.import_table(file)
    assert version.labels().tolist() == ["01", "2   ", "NA", "01"]
    with pytest.raises(NoLabels, match="no label in column 'other' of data in row 2;"):
        version.labels("other")
    assert version.labels("other", missing="keep").tolist() == ["x", "", "y", "y"]
    with pytest.raises(UnknownColumn, match="no column 'none' in dataset data; it has: text, label, other"):
        version.labels("none")


def test_labels_that_no_head_can_learn_are_refused(datasets: Datasets, tmp_path: Path) -> None:
    file = write(tmp_path, "text,label,same,long\na,x,1," + "y" * 1001 + "\nb,z,1,w\n")
    version = datasets.import_table(file)
    version.check_labels()
    with pytest.raises(NoLabels, match="column 'same' of data has one class only: '1'"):
        version.check_labels("same")
    with pytest.raises(NoLabels, match="'long' of data has a cell of 1001 characters: it is not a label column"):
        version.check_labels("long")
    unlabelled = datasets.import_table(file, name="un", options=TableOptions(unlabelled=True))
    with pytest.raises(NoLabels, match="dataset un was imported without a label column") as raised:
        unlabelled.check_labels()
    assert str(raised.value).endswith("\n  try: jdq submit train-head un --label-column label")


def test_other_columns_are_kept(datasets: Datasets, tmp_path: Path) -> None:
    version = datasets.import_table(write(tmp_path, "id,text,label\n01,a,x\n02,b,y\n"))
    (block,) = version.blocks()
    assert block.to_dict("list") == {"id": ["01", "02"], "text": ["a", "b"], "label": ["x", "y"]}
    assert [list(block.columns) for block in version.blocks(["label", "id"])] == [["label", "id"]]


def test_the_same_table_is_the_same_version_whatever_its_file(datasets: Datasets, tmp_path: Path) -> None:
    content = "text,label\nπ a,1\nb,2\n"
    version = datasets.import_table(write(tmp_path, content))
    for name, other, options in (
        ("data.csv", content.replace("\n", "\r\n").encode("utf-8-sig"), TableOptions()),
        ("other.tsv", content.replace(",", "\t").encode("utf-16"), TableOptions()),
        ("greek.csv", content.encode("iso8859-7"), TableOptions(encoding="iso8859-7")),
        ("lines.jsonl", '{"text": "π a", "label": 1}\n{"text": "b", "label": "2"}\n', TableOptions()),
    ):
        again = datasets.import_table(write(tmp_path, other, name), name="data", options=options)
        assert again.version == version.version, name
    assert len(datasets.list()) == 1
    assert [record.file for record in version.imports()] == [
        "lines.jsonl",
        "greek.csv",
        "other.tsv",
        "data.csv",
        "data.csv",
    ]


def test_the_version_of_a_known_table_never_changes(datasets: Datasets, tmp_path: Path) -> None:
    """Folders are named by it: another digest here would make every stored dataset another one."""
    version = datasets.import_table(write(tmp_path, "text,label\na,1\nb,2\n"))
    assert version.record.digest == "03d1b8486c1ab1da5376110f882ae2fd"


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("text,label\na,1\nb,02\n", TableOptions()),
        ("text,label\nb,2\na,1\n", TableOptions()),
        ("text,labels\na,1\nb,2\n", TableOptions()),
        ("label,text\n1,a\n2,b\n", TableOptions()),
        ("text,label\na,1\nb,2\n", TableOptions(unlabelled=True)),
        ("text,label\na,1\nb,2\n", TableOptions(text_column="label", label_column="text")),
        ("text,label\na,1\nb,2\nb,2\n", TableOptions()),
    ],
)
def test_any_change_of_content_or_columns_is_another_version(
    datasets: Datasets, tmp_path: Path, content: str, options: TableOptions
) -> None:
    first = datasets.import_table(write(tmp_path, "text,label\na,1\nb,2\n"))
    other = datasets.import_table(write(tmp_path, content), options=options)
    assert other.version != first.version


def test_the_newest_version_is_the_one_imported_last(datasets: Datasets, tmp_path: Path) -> None:
    old, new = "text,label\na,1\nb,2\n", "text,label\na,1\nc,2\n"
    first = datasets.import_table(write(tmp_path, old))
    second = datasets.import_table(write(tmp_path, new))
    assert datasets.get("data").version == second.version
    assert datasets.import_table(write(tmp_path, old)).version == first.version
    assert datasets.get("data").version == first.version
    assert [version.version for version in datasets.list()] == [first.version, second.version]
    assert datasets.get("data", second.version[:5]).version == second.version


def test_an_import_is_the_newest_also_where_another_clock_ran_ahead(datasets: Datasets, tmp_path: Path) -> None:
    first = datasets.import_table(write(tmp_path, "text,label\na,1\nb,2\n"))
    record = next((first.path / "imports").iterdir())
    record.write_bytes(record.read_bytes().replace(b'"imported_at": "20', b'"imported_at": "21'))
    record.rename(record.with_name("04000000000000000.json"))
    second = datasets.import_table(write(tmp_path, "text,label\na,1\nc,2\n"))
    assert datasets.get("data").version == second.version


def test_importing_the_newest_version_again_writes_nothing(datasets: Datasets, tmp_path: Path) -> None:
    file = write(tmp_path, "text,label\na,1\nb,2\n")
    datasets.import_table(file)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "store").rglob("*") if path.is_file())
    datasets.import_table(file)
    after = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert after == before


def test_where_a_table_came_from_is_kept(datasets: Datasets, tmp_path: Path) -> None:
    version = datasets.import_table(
        write(tmp_path, "text,label\na,1\n,\nb,2\n,\n"), options=TableOptions(empty_text="skip")
    )
    source = version.source
    assert (source.file, source.size_bytes, source.encoding, source.separator) == ("data.csv", 23, "utf-8", ",")
    assert (source.n_empty_rows, source.n_skipped_rows) == (1, 1)
    assert any("row 2 without text, left out" in warning for warning in version.source.warnings)


def test_an_unknown_dataset_lists_what_there_is(datasets: Datasets, tmp_path: Path) -> None:
    with pytest.raises(UnknownDataset, match="no dataset 'jobs': the store has none yet"):
        datasets.get("jobs")
    version = datasets.import_table(write(tmp_path, "text\na\n"))
    with pytest.raises(UnknownDataset, match="no dataset 'jobs'; the store has: data"):
        datasets.get("jobs")
    with pytest.raises(UnknownDataset, match=f"the store has: data {version.version}"):
        datasets.get("data", "0123456789ab")


def test_a_removed_version_is_gone_and_the_others_stay(datasets: Datasets, tmp_path: Path) -> None:
    first = datasets.import_table(write(tmp_path, "text,label\na,1\nb,2\n"))
    second = datasets.import_table(write(tmp_path, "text,label\na,1\nc,2\n"))
    assert datasets.remove("data", second.version) == [second.version]
    assert datasets.get("data").version == first.version
    assert datasets.remove("data") == [first.version]
    assert list((tmp_path / "store" / "datasets").iterdir()) == []
    with pytest.raises(UnknownDataset):
        datasets.remove("data")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\\b", "A", "a b", "x" * 65, "é" * 101, "e\u0301", "a\0", "a\n"],
)
def test_no_name_leads_out_of_the_folder(datasets: Datasets, tmp_path: Path, name: str) -> None:
    file = write(tmp_path, "text\na\n")
    for call in (datasets.get, datasets.remove, lambda given: datasets.import_table(file, name=given)):
        with pytest.raises(InvalidName, match="cannot be a dataset's name"):
            call(name)


@pytest.mark.parametrize("version", ["", "..", "../../../etc", "0123456789abc", "ABC", "*", "0/1"])
def test_no_version_leads_out_of_the_folder(datasets: Datasets, tmp_path: Path, version: str) -> None:
    datasets.import_table(write(tmp_path, "text\na\n"))
    for call in (datasets.get, datasets.remove):
        with pytest.raises(InvalidName):
            call("data", version)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Job Ads (2024)", "job-ads-2024"),
        ("data", "data"),
        ("../../etc/passwd", "etc-passwd"),
        ("직무 설명", "직무-설명"),
        ("E\u0301tude", "étude"),
        ("...", "dataset"),
        ("", "dataset"),
        ("a" * 100, "a" * 64),
        ("emscad_25.v1", "emscad_25.v1"),
    ],
)
def test_a_name_is_made_from_the_file_name(stem: str, name: str) -> None:
    assert name_from(stem) == name


@given(stem=st.text(max_size=120))
def test_every_name_that_is_made_is_valid(tmp_path_factory: pytest.TempPathFactory, stem: str) -> None:
    with pytest.raises(UnknownDataset):
        Datasets(tmp_path_factory.getbasetemp() / "none").get(name_from(stem))


def test_spaces_are_recorded_newest_first(datasets: Datasets, tmp_path: Path) -> None:
    version = datasets.import_table(write(tmp_path, "text\na\n"))
    one, two = "1" * 32, "2" * 32
    assert version.spaces() == []
    version.record_space(one, encoder="facebook/bart-base", job="j1")
    version.record_space(two, encoder="/models/tiny", job="j2")
    version.record_space(one, encoder="facebook/bart-base", job="j3")
    assert [(record.space, record.encoder, record.job) for record in datasets.get("data").spaces()] == [
        (one, "facebook/bart-base", "j3"),
        (two, "/models/tiny", "j2"),
    ]
    for bad in ("", "../x", "1" * 31, "G" * 32):
        with pytest.raises(InvalidName):
            version.record_space(bad, encoder="e", job="j")


def test_an_error_counts_the_tables_that_were_imported_only_for_predictions() -> None:
    known = ["evaluate-new", "posts", "predict-new"]
    assert "the store has: posts and 2 imported only for predictions" in str(UnknownDataset("jobs", known))
    assert "the store has: 1 imported only for predictions\n" in str(UnknownDataset("jobs", ["predict-new"]))
    assert "the store has: posts; did" in str(UnknownDataset("post", ["posts"]))
    versions = ["predict-new 0123456789ab"]
    assert f"the store has: {versions[0]}" in str(UnknownDataset("predict-new ff", versions))
