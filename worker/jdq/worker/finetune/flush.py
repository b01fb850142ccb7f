"""Makes a folder durable after other code has written its files."""

from pathlib import Path

from jdq.store.files.publish import sync


def flush_files(folder: Path) -> None:
    """Make the content and the names of the folder's files survive a power cut. Subfolders are left out."""
    for path in folder.iterdir():
        if path.is_file():
            sync(path)
    sync(folder)
