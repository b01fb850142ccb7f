"""From what a user names, files, folders and patterns, to the files of a table."""

import glob
from collections.abc import Sequence
from pathlib import Path

from jdq.store.table.options import TableError, some
from jdq.store.table.source import PACKED_ENDINGS, STDIN

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow", ".xlsx", ".xls", ".xlsb", ".ods", ".json")
# What `datasets` writes beside the tables of a data set.
NOT_TABLES = ("dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json")


def expand(names: Sequence[str]) -> list[str]:
    """The files in order, without repeats; those of a folder or pattern are sorted by name.

    Raises TableError where a folder has no table, or a pattern matches nothing.
    """
    return list(dict.fromkeys(file for name in names for file in _expanded(name)))


def table_name(names: Sequence[str]) -> str:
    """What the table is called by default: the first name without folder and endings."""
    first = names[0]
    if first == STDIN:
        return "stdin"
    path = Path(first.rstrip("/"))
    if any(sign in path.name for sign in "*?["):
        path = path.absolute().parent
    path = path if path.name not in ("", ".", "..") else path.resolve()
    if path.is_dir():
        return path.name
    return Path(path.stem).stem if path.suffix.lower() in PACKED_ENDINGS else path.stem


def _expanded(name: str) -> list[str]:
    if name == STDIN or "://" in name:
        return [name]
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if not path.exists() and glob.has_magic(name):
        if files := sorted(
            file
            for file in glob.glob(name, recursive=True)  # noqa: PTH207 - the pattern may be absolute
            if Path(file).is_file()
        ):
            return files
        raise TableError(f"no file matches {name} (in {Path.cwd()})")
    return [name]


def _in_folder(folder: Path) -> list[str]:
    """The tables in a folder; those of one kind, so that a README or a second copy in another format is no part."""
    tables = sorted(path for path in folder.iterdir() if path.is_file() and _is_table(path.name.lower()))
    if not tables:
        folders = sorted(path.name for path in folder.iterdir() if path.is_dir())
        inside = f"; it has the folders: {some(folders)}" if folders else ""
        raise TableError(f"{folder} is a folder without a table{inside}")
    kinds = {path.name[len(path.stem.split(".")[0]) :].lower() for path in tables}
    if len(kinds) > 1:
        raise TableError(
            f"{folder} has tables of several kinds: {some([path.name for path in tables])}; name those to read"
        )
    return [str(path) for path in tables]


def _is_table(name: str) -> bool:
    for ending in PACKED_ENDINGS:
        name = name.removesuffix(ending)
    return name.endswith(TABLE_ENDINGS) and name not in NOT_TABLES and not name.startswith(".")
