"""Tables of jobs: `runs/<job>/<name>.csv`, written under another name, read back, and described by their digest."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from jdq.store.files.publish import make_folder, partial_beside, sync
from jdq.store.job_files import JobFiles
from jdq.store.table.written import write_records


def write_partial(path: Path, records: Iterable[Sequence[str]]) -> Path:
    """The header and rows in a file beside `path`, read back. Raises OSError, CannotWrite."""
    make_folder(path.parent)
    partial = partial_beside(path)
    try:
        write_records(partial, records)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


def publish_table(partial: Path, path: Path, files: JobFiles) -> None:
    """Gives the table its name, and notes its digest."""
    partial.replace(path)
    sync(path.parent)
    files.describe_table(path)
