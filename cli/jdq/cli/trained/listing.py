"""What `jdq heads` and `jdq models` share: listing, removing and exporting."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jdq.cli.output import moment, print_json, print_table, say, size

if TYPE_CHECKING:
    from jdq.store.trained import TrainedStore

COLUMNS = ("what", "dataset", "label", "accuracy", "macro-F1", "size", "created")


def print_list(trained: TrainedStore, dataset: str | None, *, as_json: bool) -> None:
    """One line each, newest first; warns on stderr about those that cannot be read."""
    listed = summaries(trained, dataset)
    if as_json:
        print_json(listed)
    elif listed:
        print_table([trained.kind, *COLUMNS], list(map(row, listed)))
    else:
        say(f"the store has no {trained.kind}s" + (f" of {dataset}" if dataset else ""), err=True)


def summaries(trained: TrainedStore, dataset: str | None) -> list[dict[str, Any]]:
    """What `--json` shows of each, newest first; warns on stderr about those that cannot be read."""
    return [_summary(trained, job, record) for job, record in _readable(trained, dataset)]


def remove_all(trained: TrainedStore, ids: tuple[str, ...]) -> None:
    """Removes all of them; raises UnknownTrained before anything is removed."""
    for job in ids:
        trained.path(job)
    for job in ids:
        trained.remove(job)
        say(f"{trained.kind} {job} removed", err=True)


def export_to(trained: TrainedStore, job: str, target: Path | None) -> None:
    """Copies it to `target`, by default under its own name in the current folder; prints the path."""
    path = target or Path(trained.path(job).name)
    trained.export(job, path)
    say(str(path))


def _readable(trained: TrainedStore, dataset: str | None) -> list[tuple[str, dict[str, Any]]]:
    from jdq.store.trained import DamagedRecord

    readable = []
    for job in trained.ids():
        try:
            record = trained.record(job)
        except DamagedRecord as error:
            say(f"warning: {error}", err=True)
            continue
        if dataset in (None, record["origin"]["dataset"]):
            readable.append((job, record))
    return readable


def _summary(trained: TrainedStore, job: str, record: dict[str, Any]) -> dict[str, Any]:
    origin = record["origin"]
    return {
        "id": job,
        "what": record.get("head") or record["options"]["encoder"],
        "dataset": origin["dataset"],
        "version": origin["dataset_version"],
        "label_column": origin["label_column"],
        "accuracy": record["metrics"]["accuracy"],
        "macro_f1": record["metrics"]["macro_f1"],
        "size_bytes": trained.size_bytes(job),
        "created_at": record["created_at"],
    }


def row(of: dict[str, Any]) -> list[str]:
    """A summary as its id and a cell under each of COLUMNS."""
    measured = [f"{of['accuracy']:.3f}", f"{of['macro_f1']:.3f}"]
    return [
        of["id"],
        of["what"],
        of["dataset"],
        of["label_column"],
        *measured,
        size(of["size_bytes"]),
        moment(datetime.fromisoformat(of["created_at"]).timestamp()),
    ]
