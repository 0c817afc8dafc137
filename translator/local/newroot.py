"""Gives a running mesh a new root: puts it where the controller looks, and follows how it comes into force."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes

from translator.identity.authority import write_ca
from translator.identity.roots import as_bundle, new_root, private_pem
from translator.local.errors import LocalError
from translator.local.records import MeshRecord
from translator.local.sidecar import TRUST_DOMAIN
from translator.local.state import MeshState, try_lock

POLL = 0.2
"""Seconds between questions to the controller."""

PATIENCE = 2.0
"""Seconds for one answer of it."""

SIGNS = "every sidecar trusts it beside the old one; certificates are renewed by it"
ALONE = "every sidecar has a certificate of it; the old root is trusted no more"


def rotate_root(state: MeshState, mesh: MeshRecord, timeout: float, say: Callable[[str], None]) -> None:
    """Makes a root and waits until it alone is in force; raises ``LocalError`` when that is not so in time."""
    if mesh.ca:
        raise LocalError(
            f"this mesh has the CA of {mesh.ca}: put the new files there, ca.crt, issuer.key and issuer.crt; "
            "the controller takes them up step by step"
        )
    lock = try_lock(state.directory / "new-root.lock")
    if lock is None:
        raise LocalError("another command is giving this mesh a new root")
    try:
        fingerprint = _put(state.authority, say)
        _follow(mesh, fingerprint, time.monotonic() + timeout, say)
    finally:
        os.close(lock)


def _put(folder: Path, say: Callable[[str], None]) -> str:
    root, key = new_root(TRUST_DOMAIN, datetime.now(UTC))
    write_ca(folder, as_bundle([root]), as_bundle([root]), private_pem(key))
    say(f"new root {root.subject.rfc4514_string()}, valid until {root.not_valid_after_utc:%Y-%m-%d}")
    return root.fingerprint(hashes.SHA256()).hex()


def _follow(mesh: MeshRecord, fingerprint: str, deadline: float, say: Callable[[str], None]) -> None:
    """Says what is done as soon as it is."""
    shown: dict[str, Any] = {}
    signs = False
    while [root["fingerprint"] for root in shown.get("roots", ())] != [fingerprint]:
        if time.monotonic() > deadline:
            raise LocalError(_late(shown))
        time.sleep(POLL)
        shown = _identity(mesh) or shown
        if not signs and shown and shown["issuer"]["fingerprint"] == fingerprint:
            signs = True
            say(SIGNS)
    say(ALONE)


def _late(shown: dict[str, Any]) -> str:
    if not shown:
        return "the new root is in its place, but the controller does not answer; it takes it up when it runs again"
    waiting = ", ".join(shown.get("waitingFor", ()))
    why = f"; it waits for: {waiting}" if waiting else ""
    return f"the new root is not yet the only one that is trusted{why}. The exchange goes on by itself"


def _identity(mesh: MeshRecord) -> dict[str, Any] | None:
    parts = urlsplit(f"{mesh.url}/identity")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return dict(json.loads(response.read())) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None  # the controller is being restarted
    finally:
        connection.close()
