"""Where the store is."""

from __future__ import annotations

import os
from pathlib import Path


def store_root(path: str | Path | None = None) -> Path:
    """The store's folder: the argument, else $JDQ_STORE, else $JDQ_HOME/store, else ~/.jdq/store. It may not exist."""
    if path is not None:
        return Path(path).expanduser()
    if named := os.environ.get("JDQ_STORE"):
        return Path(named).expanduser()
    home = os.environ.get("JDQ_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".jdq") / "store"
