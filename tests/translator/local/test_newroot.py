"""`smi local rotate-root` where it cannot do what it is asked; with a mesh: ``test_mesh_identity``."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from translator.identity.authority import Authority
from translator.local.errors import LocalError
from translator.local.newroot import rotate_root
from translator.local.records import MeshRecord
from translator.local.state import MeshState, try_lock


class Controller(http.server.BaseHTTPRequestHandler):
    """Says the same of identity again and again."""

    said: dict[str, Any]

    def do_GET(self) -> None:
        body = json.dumps(self.said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    Controller.said = {
        "roots": [{"fingerprint": "old"}],
        "issuer": {"fingerprint": "old"},
        "waitingFor": ["a/b", "c/d"],
    }
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Controller)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def state(tmp_path: Path) -> MeshState:
    Authority.create(tmp_path)
    return MeshState(directory=tmp_path)


def mesh(port: int, ca: str = "") -> MeshRecord:
    return MeshRecord(
        name="mesh", instance="i", pid=1, api_port=port, directories=(),
        control_address="127.80.0.1", control_port=4190, ca=ca,
    )  # fmt: skip


def test_who_is_waited_for_is_named_when_time_is_up(state: MeshState, port: int) -> None:
    before, said = Authority.load(state.authority).issuer, list[str]()
    with pytest.raises(LocalError, match=r"it waits for: a/b, c/d\. The exchange goes on"):
        rotate_root(state, mesh(port), 0.1, said.append)
    assert len(said) == 1
    assert said[0].startswith("new root CN=root of cluster.local ")
    assert Authority.load(state.authority).issuer != before


def test_where_nobody_is_waited_for_nobody_is_named(state: MeshState, port: int) -> None:
    Controller.said = {**Controller.said, "waitingFor": []}
    with pytest.raises(LocalError, match=r"not yet the only one that is trusted\. The exchange goes on"):
        rotate_root(state, mesh(port), 0.1, lambda _: None)


def test_a_controller_that_is_away_is_said(state: MeshState) -> None:
    with pytest.raises(LocalError, match="the controller does not answer"):
        rotate_root(state, mesh(1), 0.1, lambda _: None)


def test_one_at_a_time(state: MeshState, port: int) -> None:
    lock = try_lock(state.directory / "new-root.lock")
    assert lock is not None
    try:
        before = Authority.load(state.authority).issuer
        with pytest.raises(LocalError, match="another command"):
            rotate_root(state, mesh(port), 0.1, lambda _: None)
        assert Authority.load(state.authority).issuer == before
    finally:
        os.close(lock)


def test_the_users_own_ca_is_left_alone(state: MeshState, port: int, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="/company: put the new files there"):
        rotate_root(state, mesh(port, ca="/company"), 0.1, lambda _: None)
