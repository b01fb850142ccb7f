"""All datasets of a store."""

import builtins
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from jdq.store.datasets.importing import VERSION_DIGITS, AfterBlock, import_into, publish_folder, temporary_folder
from jdq.store.datasets.names import VERSION, NameTaken, UnknownDataset, check_name, check_version, name_from
from jdq.store.datasets.records import (
    IMPORTS,
    RECORD,
    DamagedDataset,
    DatasetRecord,
    ImportRecord,
    RemovedDataset,
    now_after,
    put,
)
from jdq.store.datasets.version import DatasetVersion
from jdq.store.errors import StoreError, read_each
from jdq.store.files.digests import to_json
from jdq.store.files.publish import remove, sync
from jdq.store.table import TableOptions, open_table, table_name

ATTEMPTS = 5


class Datasets:
    """The folder STORE/datasets. No version is ever changed: an import adds a folder, a removal removes one."""

    def __init__(self, root: Path) -> None:
        """`root` is the store's folder."""
        self._folder = root / "datasets"

    def import_table(
        self,
        file: str | Path | Sequence[str | Path],
        *,
        name: str | None = None,
        options: TableOptions | None = None,
        after_block: AfterBlock = lambda _: None,
    ) -> DatasetVersion:
        """Import a user's file, or several, as the newest version; `open_table` says which kinds there are.

        A table that was imported before keeps its version. `name` is by default made from the file's name.
        `after_block` is called with the number of rows done so far. Memory is bounded by a block and 20 bytes per row.
        Warnings are in the version's `source.warnings`. Raises TableError, InvalidName, OSError, and then leaves
        nothing behind.
        """
        files = [file] if isinstance(file, str | Path) else file
        name = check_name(name_from(table_name([str(file) for file in files])) if name is None else name)
        table = open_table(file, options)
        with temporary_folder(self._folder) as partial:
            record, source = import_into(partial, table, after_block=after_block)
            self._put_import(partial, name, source)
            target = self._folder / name / record.digest[:VERSION_DIGITS]
            for _ in range(ATTEMPTS):
                # Again where someone removed the version, or its name, meanwhile.
                with contextlib.suppress(RemovedDataset, FileNotFoundError):
                    version = _place(partial, target, record)
                    self._note_import(version, source)
                    return version
        raise RemovedDataset(target)

    def get(self, name: str, version: str | None = None) -> DatasetVersion:
        """The version that begins with `version`, or the one imported last.

        Raises UnknownDataset, InvalidName, DamagedDataset.
        """
        return DatasetVersion(max(self._chosen(name, version), key=_last_import))

    def names(self) -> builtins.list[str]:
        """The names of all datasets, sorted."""
        if not self._folder.is_dir():
            return []
        names = (path.name for path in self._folder.iterdir())
        return sorted(name for name in names if name[0] != "." and any(self._versions(name)))

    def list(self) -> builtins.list[DatasetVersion]:
        """All readable versions by name, newest first within a name."""
        return list(self.open_all()[0].values())

    def open_all(self) -> tuple[dict[Path, DatasetVersion], dict[Path, StoreError]]:
        """The versions of `list` by folder, and why the others cannot be opened: damaged, or of a newer format."""
        folders = (sorted(self._versions(name), key=_last_import, reverse=True) for name in self.names())
        return read_each(itertools.chain.from_iterable(folders), DatasetVersion, gone=(RemovedDataset,))

    def remove(self, name: str, version: str | None = None) -> builtins.list[str]:
        """Remove one version, or all of a dataset; returns which. Features stay in their spaces.

        Raises UnknownDataset, InvalidName.
        """
        folders = self._chosen(name, version)
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):  # someone else has removed it
                remove(folder, trash_in=self._folder)
        with contextlib.suppress(OSError):  # it has other versions, or is gone
            (self._folder / name).rmdir()
            sync(self._folder)
        return [folder.name for folder in folders]

    def _chosen(self, name: str, version: str | None) -> builtins.list[Path]:
        """The folder of the only version that begins with `version`, or of all versions."""
        folders = sorted(self._versions(check_name(name)))
        if not folders:
            raise UnknownDataset(name, self.names())
        beginning = "" if version is None else check_version(version)
        chosen = [folder for folder in folders if folder.name.startswith(beginning)]
        if version is not None and len(chosen) != 1:
            raise UnknownDataset(f"{name} {version}", [f"{name} {folder.name}" for folder in folders])
        return chosen

    def _versions(self, name: str) -> Iterator[Path]:
        if (folder := self._folder / name).is_dir():
            yield from (path for path in folder.iterdir() if VERSION.fullmatch(path.name) and path.is_dir())

    def _put_import(self, version: Path, name: str, source: ImportRecord) -> None:
        """Record in the folder `version` that this file has its table, dated later than every import of this name."""
        newest = max(map(_last_import, self._versions(name)), default="")
        at = now_after(datetime.fromtimestamp(int(newest.removesuffix(".json") or 0) / 1e6, UTC))
        # Microseconds since 1970 in 17 digits, so that names sort by time.
        file = version / IMPORTS / f"{int(at.timestamp()):011d}{at.microsecond:06d}.json"
        put(file, to_json(msgspec.structs.replace(source, imported_at=at)))

    def _note_import(self, version: DatasetVersion, source: ImportRecord) -> None:
        """Make an existing version the newest; nothing is written where it already is, and its file is the same."""
        last = version.imports()[:1]
        same_file = [(known.file, known.sha256) for known in last] == [(source.file, source.sha256)]
        newest = max(map(_last_import, self._versions(version.name)))
        if not same_file or newest != _last_import(version.path):
            self._put_import(version.path, version.name, source)


def _place(partial: Path, target: Path, record: DatasetRecord) -> DatasetVersion:
    """Give a finished import its place; if it has been imported before, that one stays, and is mended if it is damaged.

    Raises NameTaken, and RemovedDataset and FileNotFoundError where it is removed meanwhile.
    """
    if publish_folder(partial, target):
        return DatasetVersion(target)
    try:
        version = DatasetVersion(target)
        if version.record.digest != record.digest:
            raise NameTaken(target.parent.name, target.name)
        if not version.verify():
            return version
    except DamagedDataset:
        pass
    # The record last: a version is damaged until all files are those that it names.
    for name in (*record.files, RECORD):
        (partial / name).replace(target / name)
    sync(target)
    return DatasetVersion(target)


def _last_import(version: Path) -> str:
    """The name of the version's newest import record. Names sort by time."""
    return max((path.name for path in (version / IMPORTS).glob("[0-9]*.json")), default="")
