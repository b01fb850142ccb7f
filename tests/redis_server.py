"""A Redis-compatible server of a test's own, on a unix socket."""

from __future__ import annotations

import subprocess
from pathlib import Path

import redis

from jdq.cli.stack.server import find_server, server_command
from tests.waiting import until


class RedisServer:
    """Started in `folder`, killed and started again at will; its data stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "r.sock"
        self.url = f"redis+socket://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        """Starts the server and waits until it answers."""
        self.folder.mkdir(exist_ok=True)
        self.socket.unlink(missing_ok=True)
        command = server_command(find_server(), data=self.folder, socket=self.socket)
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, within_s=10, why=f"the server answers; see {self.folder / 'redis.log'}")
        return self

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self, *, timeout_s: float | None = 5) -> redis.Redis:
        """A client of the server. timeout_s: how long it waits for a reply."""
        path = str(self.socket)
        return redis.Redis(
            unix_socket_path=path, decode_responses=True, encoding_errors="replace", socket_timeout=timeout_s
        )

    def kill(self) -> None:
        """Ends the server as `kill -9` does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
