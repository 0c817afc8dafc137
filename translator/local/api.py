"""Asks a running mesh's controller something, over its loopback API. Without aiohttp: commands must start fast."""

from __future__ import annotations

import http.client

from translator.local.errors import LocalError, NoSuchMesh
from translator.local.records import decode_mesh
from translator.local.state import MeshState, read_state, running_state

PATIENCE = 10.0
"""Seconds to wait for an answer."""


def ask_mesh(name: str, target: str) -> bytes:
    """As ``ask``, for commands that can also be asked about a folder: where no mesh runs, this is said."""
    try:
        state = running_state(name)
    except NoSuchMesh as error:
        raise LocalError(f"{error}, or ask a folder of manifests with --manifests DIR") from error
    return ask(state, target)


def ask(state: MeshState, target: str) -> bytes:
    """The answer's body; ``LocalError`` with the controller's words when it refuses or does not answer."""
    mesh = decode_mesh(read_state(state, state.mesh))
    connection = http.client.HTTPConnection("127.0.0.1", mesh.api_port, timeout=PATIENCE)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise LocalError(f"the controller does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise LocalError(body.decode(errors="replace").strip() or f"the controller answers {response.status}")
    return body
