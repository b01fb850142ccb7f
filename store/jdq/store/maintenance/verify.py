"""Check every file of a store, report damage, and quarantine damaged shards, whose rows are then computed again."""

from collections.abc import Callable, Iterator
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
AfterShard = Callable[[int, int], None]


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


def verify(
    store: Store, *, quick: bool = False, repair: bool = False, after_shard: AfterShard | None = None
) -> VerifyReport:
    """Check the store while others use it. `after_shard` is called with the number of shards done, and of all shards.

    Each shard: its layout, its keys, and (unless `quick`) each digest. Each dataset version: its records, and (unless
    `quick`) the digests of its files, and whether the spaces it was extracted in have all of its rows. Unless `quick`,
    each head, model and file of a job. `repair` moves damaged shards into quarantine, so that the next extraction
    computes their rows again, removes damaged index files and records that are written again when they are missing,
    and restores a damaged space.json from a shard.
    """
    report = VerifyReport(quick=quick)
    damaged = store.damaged_spaces()
    folders = sorted([*damaged, *(space.path for space in store.spaces())])
    shards = [shard for folder in folders for shard in _shards(report, folder / "shards")]
    report.spaces = len(folders)
    report.findings += [_damaged_space(folder, error, repair) for folder, error in damaged.items()]
    indexes = {folder: _Segments(folder, quick) for folder in folders}
    for done, shard in enumerate(shards, start=1):
        report.findings.extend(_check_shard(report, shard, quick, repair, indexes[shard.parent.parent]))
        if after_shard:
            after_shard(done, len(shards))
    for segments in indexes.values():
        report.findings.extend(segments.findings(repair))
    _check_datasets(store, report, repair)
    if not quick:
        report.findings += _check_rest(store)
    return report


def _shards(report: VerifyReport, folder: Path) -> list[Path]:
    try:
        return [folder / f"{name}.h5" for name in sorted(shard_names(folder))]
    except CannotRead as error:
        report.findings.append(Finding(kind="space", path=str(folder), fact=_fact(error)))
        return []


def _damaged_space(folder: Path, error: StoreError, repair: bool) -> Finding:
    repaired = "restored from a shard" if repair and _restore_definition(folder) else ""
    return Finding(kind="space", path=str(folder / "space.json"), fact=str(error), repaired=repaired)


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
        paths = segment.paths(folder / "index")
        read = [part for part in map(segment.read, paths) if part is not None]
        sound = {part.path for part in read}
        self._sound = [(part, {name: number for number, name in enumerate(part.shards)}) for part in read]
        self._faults = {path: "it has changed since it was written" for path in paths if path not in sound}
        counts = read_each([folder / "index" / "counts.json"], partial(read_json, kind=dict))[1]
        self._faults |= {path: _fact(error) for path, error in counts.items()}
        self._quick = quick

    def compare(self, name: str, keys: Keys) -> None:
        """Note each segment that has not exactly these keys for the shard."""
        for part, numbers in self._sound if not self._quick else []:
            if name in numbers and part.path is not None:
                entries = segment.find(part, keys, shard=numbers[name])
                if (entries < 0).any() or not np.array_equal(
                    segment.places(part.entries[2][entries])[1], np.arange(len(keys))
                ):
                    self._faults[part.path] = f"its entries are not the keys of shard {name}"

    def findings(self, repair: bool) -> Iterator[Finding]:
        for path, fact in self._faults.items():
            if path.exists():
                if repair:
                    path.unlink(missing_ok=True)
                repaired = "removed; it is rebuilt when it is next needed" if repair else ""
                yield Finding(kind="index", path=str(path), fact=fact, repaired=repaired)


def _check_shard(report: VerifyReport, path: Path, quick: bool, repair: bool, segments: _Segments) -> Iterator[Finding]:
    identity = current_identity(path)
    try:
        shard = open_shard(path, space=path.parent.parent.name)
        if not quick:
            shard.check()
    except FileNotFoundError:
        return  # removed meanwhile by gc or another verify
    except (DamagedShard, CannotRead) as error:
        damaged = isinstance(error, DamagedShard)
        moved = quarantine(path.parent.parent, path, identity) if damaged and repair and identity else None
        repaired = f"moved to {moved}; its rows are missing now, and the next extraction computes them" if moved else ""
        yield Finding(kind="shard", path=str(path), fact=_fact(error), repaired=repaired)
        return
    segments.compare(path.stem, shard.keys)
    report.shards += 1
    report.rows += shard.header.rows
    report.size_bytes += shard.size_bytes


def _check_datasets(store: Store, report: VerifyReport, repair: bool) -> None:
    for path, damage in store.datasets.damaged().items():
        report.findings.append(Finding(kind="dataset", path=str(path), fact=_fact(damage)))
    for version in store.datasets.list():
        report.datasets += 1
        report.findings += [_side_file(version, *fault, repair) for fault in version.unreadable().items()]
        if not report.quick:
            facts = version.verify() if version.path.is_dir() else []
            report.findings += [Finding(kind="dataset", path=str(version.path), fact=fact) for fact in facts]
            report.incomplete.extend(_incomplete(store, version) if not facts else [])


def _side_file(version: DatasetVersion, path: Path, error: StoreError, repair: bool) -> Finding:
    """A broken file of `imports/`, `spaces/` or `splits/`; the last import record is not removed."""
    removed = repair and (path.parent.name != IMPORTS or bool(version.imports()))
    if removed:
        path.unlink(missing_ok=True)
    repaired = "removed; the next import, extraction or training writes it anew" if removed else ""
    return Finding(kind="dataset", path=str(path), fact=_fact(error), repaired=repaired)


def _check_rest(store: Store) -> Iterator[Finding]:
    """Heads, models, files of jobs, and the precision that was settled."""
    for trained in (Heads(store.root), Models(store.root)):
        for job, error in read_each(trained.ids(), trained.check, gone=(UnknownTrained,))[1].items():
            yield Finding(kind=trained.kind, path=str(trained.place(job)), fact=_fact(error))
    files = JobFiles(store.root)
    for path, error in read_each(files.paths(), files.check)[1].items():
        where = error.path if isinstance(error, UnreadableFile) else path  # or the table that the file describes
        yield Finding(kind="job", path=str(where), fact=_fact(error))
    for error in read_each([store], Store.precision)[1].values():
        yield Finding(kind="store", path=str(store.root / PRECISION), fact=_fact(error))


def _fact(error: StoreError) -> str:
    return error.fact if isinstance(error, UnreadableFile | DamagedShard) else str(error).splitlines()[0]


def _incomplete(store: Store, version: DatasetVersion) -> Iterator[Finding]:
    """The feature spaces in which the version is extracted only in part."""
    for record in version.spaces():
        try:
            missing = int(np.count_nonzero(store.open_space(record.space).missing(version.keys())))
            fact = f"{missing} of {version.n_rows} rows are not in feature space {record.space}"
        except StoreError as error:
            missing, fact = version.n_rows, _fact(error)
        if missing:
            yield Finding(
                kind="incomplete", path=str(version.path), fact=f"{fact}; extracting its file again computes them"
            )
