"""Whom this sidecar believes: the bundle it was started with, and what the controller said since.

The bundle file is given by whoever starts the sidecar; the controller tells a
newer ``Trust`` with every certificate and over the control stream. What was
told last counts and is kept on the pod's disk, so that a restarted sidecar
does not fall back to roots that have been exchanged. A file that was replaced
after that is newer still, and its bundle counts.

Neighbours: ``proxy.identity`` asks and tells, ``proxy.tls`` builds contexts of it.
"""

from __future__ import annotations

import logging
import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.contract.bundle import BundleRejected, read_bundle
from proxy.contract.config import TlsFiles, Trust

FILE_NAME: Final = "trust.json"

MAX_FILE: Final = 128 * 1024
"""Bytes of a bundle file; a bundle of a hundred roots has less."""

MAX_KEPT: Final = 1024 * 1024
"""Bytes of the kept file: our own bundle, and those of some federated trust domains."""

_log = logging.getLogger("proxy.identity")


class _Kept(Struct, frozen=True, kw_only=True):
    """What was told last, and the digest of the bundle file at that time."""

    trust: Trust
    file: str


class TrustBundles:
    """``current`` is what is believed now; its bundle is empty while there is none that can be read."""

    def __init__(self, files: TlsFiles, state: str) -> None:
        self._files = files
        self._keep = Path(state) / FILE_NAME if state else None
        self._seen: dict[str, object] = {}
        self._file = ""
        self._told = False
        self.current = Trust(bundle="")
        kept = self._kept()
        self.look()
        if kept is not None and (not self._file or kept.file == _digest(self._file)):
            self.current = kept.trust
        elif kept is not None:
            self.current = replace(kept.trust, bundle=self._file)
        self._told = kept is not None

    def look(self) -> bool:
        """Reads files that were replaced since the last call; whether ``current`` changed by it."""
        before = self.current
        bundle = self._changed(self._files.bundle)
        if bundle and bundle != self._file:
            self._file = bundle
            self.current = replace(self.current, bundle=bundle)
        for domain, path in self._files.federated.items():
            bundle = self._changed(path)
            if bundle and not self._told:
                self.current = replace(self.current, federated={**self.current.federated, domain: bundle})
        return self.current != before

    def newer(self, trust: Trust) -> Trust:
        """``trust`` or ``current``: an answer that took its time may be older than what was pushed meanwhile."""
        return trust if trust.generation >= self.current.generation else self.current

    def told(self, trust: Trust) -> bool:
        """The controller says ``trust``; whether ``current`` changed by it."""
        trust = self.newer(trust)
        if trust == self.current:
            return False
        self.current, self._told = trust, True
        if self._keep is not None:
            kept = _Kept(trust=trust, file=_digest(self._file))
            fresh = self._keep.with_name(f".{FILE_NAME}.new")
            try:
                fresh.write_bytes(msgspec.json.encode(kept))
                fresh.replace(self._keep)
            except OSError as error:
                _log.warning("the new trust bundle is in use but not on disk: %s", error.strerror)
        return True

    def _changed(self, path: str) -> str:
        """The bundle in a file that was replaced since the last look; empty if there is none that can be used."""
        seen = state_of(path)
        if self._seen.get(path) == seen:
            return ""
        self._seen[path] = seen
        try:
            with open(path, "rb") as file:
                text = file.read(MAX_FILE).decode("ascii")
            read_bundle(text)
        except (OSError, UnicodeDecodeError, BundleRejected) as error:
            reason = getattr(error, "strerror", None) or error
            _log.warning("trust bundle not used, the last good one stays file=%s reason=%s", path, reason)
            return ""
        return text

    def _kept(self) -> _Kept | None:
        if self._keep is None:
            return None
        try:
            with self._keep.open("rb") as file:
                kept = msgspec.json.decode(file.read(MAX_KEPT), type=_Kept)
            for bundle in (kept.trust.bundle, *kept.trust.federated.values()):
                read_bundle(bundle)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, BundleRejected) as error:
            _log.warning("kept trust bundle ignored file=%s reason=%s", self._keep, error)
            return None
        return kept


def state_of(path: str) -> object:
    """What tells one content of a file from the next; None while there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
