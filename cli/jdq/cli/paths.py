"""Paths that the user names: what this process may write, and what the workers see."""

import os
from pathlib import Path

from jdq.cli.client import BadRequest

STDOUT = Path("-")


def check_writable(file: Path) -> None:
    """Raises BadRequest if this process may not write the file, or its folder does not exist."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise BadRequest(f"no folder {folder}")
    if file.is_dir():
        raise BadRequest(f"{file} is a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        owner, me = folder.stat(), os.getuid()
        settings = f"JDQ_UID={owner.st_uid} and JDQ_GID={owner.st_gid} in .env"
        todo = settings if owner.st_uid else f"chown {me} on its folder"
        raise BadRequest(
            f"the folder {folder} belongs to user {owner.st_uid}, group {owner.st_gid}, and this user {me} may not "
            f"write there\n  try: another folder, or with Compose {todo}"
        )


def seen_by_workers(folder: Path, mounts: str) -> str:
    """The path under which the workers see a folder. mounts: `worker_folders` of the configuration.

    Raises BadRequest if they do not see it.
    """
    if not mounts:
        return str(folder)
    pairs = [(Path(here).expanduser().resolve(), there or here) for here, _, there in map(_divided, mounts.split(","))]
    for here, there in pairs:
        if folder.is_relative_to(here):
            return str(Path(there) / folder.relative_to(here))
    seen = ", ".join(there if str(here) == there else f"{there} ({here} here)" for here, there in pairs)
    todo = f"copy it there, then --encoder {pairs[0][0] / folder.name}"
    raise BadRequest(f"the workers do not see {folder}; they see {seen}\n  try: {todo}")


def _divided(mount: str) -> tuple[str, str, str]:
    return mount.strip().partition("=")
