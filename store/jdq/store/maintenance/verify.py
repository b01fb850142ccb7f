"""Check every file of a store, report damage, and quarantine damaged shards, whose rows are then computed again."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from jdq.store.datasets import DatasetVersion
from jdq.store.datasets.records import IMPORTS
from jdq.store.errors import CannotRead, DamagedShard, StoreError, read_each
from jdq.store.files.digests import UnreadableFile, read_json
from jdq.store.files.publish import replace
from jdq.store.job_files import JobFiles
from jdq.store.keys import Keys
from jdq.store.spaces import segment
from jdq.store.spaces.index import shard_names
from jdq.store.spaces.mapped_shard import current_identity, open_shard
from jdq.store.spaces.quarantine import quarantine
from jdq.store.spaces.validator import layout_of
from jdq.store.store import PRECISION, Store
from jdq.store.trained import Heads, Models, UnknownTrained

Kind = Literal["shard", "space", "index", "dataset", "head", "model", "job", "store", "incomplete"]
AfterShard = Callable[[int, int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault, where it is, and how it was repaired ("" where it was not)."""

    kind: Kind
    path: str
    fact: str
    repaired: str = ""


@dataclass(slots=True, kw_only=True)
class VerifyReport:
    """How much was read, the damage, and the datasets that are not completely extracted."""

    quick: bool
    spaces: int = 0
    shards: int = 0
    rows: int = 0
    size_bytes: int = 0
    datasets: int = 0
    findings: list[Finding] = field(default_factory=list)
    incomplete: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there is no damage. Missing rows are none: a job may not have computed them yet."""
        return not self.findings

    def note(self, kind: Kind, path: Path, fault: StoreError | str, repaired: str = "") -> None:
        """Add a finding."""
        listed = self.incomplete if kind == "incomplete" else self.findings
        listed.append(Finding(kind=kind, path=str(path), fact=_fact(fault), repaired=repaired))


def verify(store: Store, *, quick: bool = False, repair: bool = False, after_shard: AfterShard = max) -> VerifyReport:
    """Check the store while others use it. `after_shard` is called with the number of shards done, and of all shards.

    Each shard: its layout, its keys, and (unless `quick`) each digest. Each dataset version: its records, and (unless
    `quick`) the digests of its files, and whether the spaces it was extracted in have all of its rows. Unless `quick`,
    each head, model and file of a job. `repair` moves damaged shards into quarantine, so that the next extraction
    computes their rows again, removes damaged index files and records that are written again when they are missing,
    and restores a damaged space.json from a shard.
    """
    report = VerifyReport(quick=quick)
    spaces, damaged = store.open_spaces()
    for folder, error in damaged.items():
        repaired = "restored from a shard" if repair and _restore_definition(folder) else ""
        report.note("space", folder / "space.json", str(error), repaired)
    shards = {folder: _shards(report, folder / "shards") for folder in sorted([*damaged, *spaces])}
    report.spaces, done = len(shards), itertools.count(1)
    for folder, paths in shards.items():
        segments = _Segments(folder, quick)
        for path in paths:
            _check_shard(report, path, repair, segments)
            after_shard(next(done), sum(map(len, shards.values())))
        segments.note_faults(report, repair)
    _check_datasets(store, report, repair)
    if not quick:
        _check_rest(store, report)
    return report


def _shards(report: VerifyReport, folder: Path) -> list[Path]:
    try:
        return [folder / f"{name}.h5" for name in sorted(shard_names(folder))]
    except CannotRead as error:
        report.note("space", folder, error)
        return []


def _restore_definition(folder: Path) -> bool:
    """Rewrite space.json from the first shard that has the definition."""
    for layout in read_each(sorted((folder / "shards").glob("*.h5")), layout_of)[0].values():
        if layout.space.digest == folder.name:
            replace(folder / "space.json", layout.space.canonical_json())
            return True
    return False


class _Segments:
    """The files of a feature space's index, and what is wrong with each."""

    def __init__(self, folder: Path, quick: bool) -> None:
        read = {path: segment.read(path) for path in segment.paths(folder / "index")}
        self._sound = {} if quick else {path: part for path, part in read.items() if part is not None}
        self._numbers = {path: {name: n for n, name in enumerate(part.shards)} for path, part in self._sound.items()}
        self._faults: dict[Path, StoreError | str] = {
            path: "it has changed since it was written" for path, part in read.items() if part is None
        }
        self._faults |= read_each([folder / "index" / "counts.json"], partial(read_json, kind=dict))[1]

    def compare(self, name: str, keys: Keys) -> None:
        """Note each segment that has not exactly these keys for the shard."""
        for path, part in self._sound.items():
            if (number := self._numbers[path].get(name)) is not None:
                entries = segment.find(part, keys, shard=number)
                rows = segment.places(part.entries[2][entries])[1]
                if (entries < 0).any() or not np.array_equal(rows, np.arange(len(keys))):
                    self._faults[path] = f"its entries are not the keys of shard {name}"

    def note_faults(self, report: VerifyReport, repair: bool) -> None:
        for path, fault in self._faults.items():
            if path.exists():
                if repair:
                    path.unlink(missing_ok=True)
                report.note("index", path, fault, "removed; it is rebuilt when it is next needed" if repair else "")


def _check_shard(report: VerifyReport, path: Path, repair: bool, segments: _Segments) -> None:
    identity = current_identity(path)
    try:
        shard = open_shard(path, space=path.parent.parent.name)
        if not report.quick:
            shard.check()
    except FileNotFoundError:
        return  # removed meanwhile by gc or another verify
    except (DamagedShard, CannotRead) as error:
        damaged = isinstance(error, DamagedShard)
        moved = quarantine(path.parent.parent, path, identity) if damaged and repair else None
        repaired = f"moved to {moved}; its rows are missing now, and the next extraction computes them" if moved else ""
        report.note("shard", path, error, repaired)
        return
    segments.compare(path.stem, shard.keys)
    report.shards += 1
    report.rows += shard.header.rows
    report.size_bytes += shard.size_bytes


def _check_datasets(store: Store, report: VerifyReport, repair: bool) -> None:
    versions, damaged = store.datasets.open_all()
    for path, damage in damaged.items():
        report.note("dataset", path, damage)
    for version in versions.values():
        report.datasets += 1
        for path, error in version.unreadable().items():
            # The last import record is not removed.
            removed = repair and (path.parent.name != IMPORTS or bool(version.imports()))
            if removed:
                path.unlink(missing_ok=True)
            repaired = "removed; the next import, extraction or training writes it anew" if removed else ""
            report.note("dataset", path, error, repaired)
        if not report.quick:
            facts = version.verify() if version.path.is_dir() else []
            for fact in facts:
                report.note("dataset", version.path, fact)
            if not facts:
                _note_incomplete(store, report, version)


def _check_rest(store: Store, report: VerifyReport) -> None:
    """Heads, models, files of jobs, and the precision that was settled."""
    for trained in (Heads(store.root), Models(store.root)):
        for job, error in read_each(trained.ids(), trained.check, gone=(UnknownTrained,))[1].items():
            report.note(trained.kind, trained.place(job), error)
    files = JobFiles(store.root)
    for path, error in read_each(files.paths(), files.check)[1].items():
        # Or the table that the file describes.
        report.note("job", error.path if isinstance(error, UnreadableFile) else path, error)
    for error in read_each([store], Store.precision)[1].values():
        report.note("store", store.root / PRECISION, error)


def _fact(fault: StoreError | str) -> str:
    if isinstance(fault, str):
        return fault
    return fault.fact if isinstance(fault, UnreadableFile | DamagedShard) else str(fault).splitlines()[0]


def _note_incomplete(store: Store, report: VerifyReport, version: DatasetVersion) -> None:
    """The feature spaces in which the version is extracted only in part."""
    for record in version.spaces():
        fact = ""
        try:
            if missing := int(np.count_nonzero(store.open_space(record.space).missing(version.keys()))):
                fact = f"{missing} of {version.n_rows} rows are not in feature space {record.space}"
        except StoreError as error:
            fact = _fact(error)
        if fact:
            report.note("incomplete", version.path, f"{fact}; extracting its file again computes them")
