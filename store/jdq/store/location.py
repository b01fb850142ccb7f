"""Where the store is: the one rule that the client, the workers and `open_store` share."""

import os
import stat
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from jdq.store.errors import StoreError


def jdq_home(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of config.toml and of the local stack: $JDQ_HOME, else ~/.jdq. Absolute; it may not exist."""
    return Path(environment.get("JDQ_HOME") or Path.home() / ".jdq").expanduser().absolute()


def store_root(path: str | Path | None = None, *, environment: Mapping[str, str] = os.environ) -> Path:
    """The store's folder: `path`, else $JDQ_STORE, else `store` in $JDQ_HOME/config.toml, else $JDQ_HOME/store.

    Absolute; it may not exist. Raises StoreError where config.toml is needed and cannot be read.
    """
    home = jdq_home(environment)
    named = path or environment.get("JDQ_STORE") or _configured(home / "config.toml") or home / "store"
    return Path(named).expanduser().absolute()


def share_with_group(root: Path) -> None:
    """Has whatever this process creates be writable by its group, if the store's folder is made for a group to share.

    It is if its mode has setgid, with which what is created in it gets its group, and write permission for the group.
    """
    with suppress(FileNotFoundError, PermissionError):
        mode = root.stat().st_mode
        if mode & stat.S_ISGID and mode & stat.S_IWGRP:
            os.umask(os.umask(0o077) & ~0o070)


def _configured(file: Path) -> str | None:
    try:
        store = tomllib.loads(file.read_text(encoding="utf-8")).get("store")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error
    if store is not None and not isinstance(store, str):
        raise StoreError(f"{file}: store is {store!r}; it must be a path in quotes")
    return store
