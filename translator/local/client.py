"""Asks a running supervisor something, over its control socket. Without aiohttp: commands must start fast."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path

from translator.local.errors import LocalError


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """As the server binds it: by the folder's descriptor, since a path may be too long for a socket."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


def ask(path: Path, method: str, target: str, body: bytes = b"", timeout: float = 10.0) -> bytes:
    """The answer's body; ``LocalError`` with the supervisor's words when it refuses or does not answer."""
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target, body)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise LocalError(f"the supervisor does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise LocalError(answer.decode(errors="replace"))
    return answer
