"""Reads pages of sidecars and of the controller. Without aiohttp: commands must start fast."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

PATIENCE = 2.0
"""Seconds to wait for one answer: a sidecar that is stopped must not keep the others from being shown."""


def page(url: str, patience: float = PATIENCE) -> tuple[int, bytes]:
    """Status and body of ``GET url``. Raises ``OSError`` when nobody answers, or nonsense."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=patience)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError(f"{url} does not speak HTTP: {error!r}") from error
    finally:
        connection.close()
