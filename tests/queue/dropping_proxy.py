"""A proxy before Redis that drops replies: the server has run the command, and the client does not learn of it."""

import contextlib
import select
import socket
import threading
from pathlib import Path


class DroppingProxy:
    """Listens on a unix socket; `drops` counts down the replies to `command` that are still to be dropped."""

    def __init__(self, path: Path, server: Path) -> None:
        self.path = path
        self.drops = 0
        self.command = b"EVALSHA"
        self.accepts = float("inf")  # so many connections; the others are closed
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self.accepts -= 1
            if self.accepts < 0:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, until either side closes it or a reply is dropped."""
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._server))
        with client, server, contextlib.suppress(OSError):
            matched = False
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 20)
                    if not data:
                        return
                    if source is client:
                        matched = self.command in data
                    elif matched and self.drops and not data.startswith(b"-NOSCRIPT"):
                        self.drops -= 1
                        return
                    (server if source is client else client).sendall(data)
