"""The mesh's CA in a Secret of its own namespace, mirrored into a folder that ``translator.identity`` follows.

``smi-mesh-identity`` has ``ca.crt``, ``issuer.crt`` and ``issuer.key``; one that cert-manager writes has ``tls.crt``
and ``tls.key`` instead. If there is none, one is made.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import Final

from smi.sources.apiserver import ApiError, ApiServer
from translator.identity.authority import BUNDLE, ISSUER, ISSUER_KEY, Authority
from translator.kube.names import CA_SECRET
from translator.kube.secret import Data, Secret

POLL: Final = 5.0
"""Seconds between looks: a rotation takes longer by far, and a GET of one object costs nothing."""

_CERT_MANAGER: Final = {ISSUER: "tls.crt", ISSUER_KEY: "tls.key"}

log = logging.getLogger("translator.identity")


class CaSecret:
    """The Secret in ``namespace``, and ``folder`` with its files."""

    def __init__(self, api: ApiServer, namespace: str, folder: Path, trust_domain: str) -> None:
        self.folder = folder
        self._secret, self._trust_domain = Secret(api, namespace, CA_SECRET), trust_domain
        self._files: dict[str, bytes] = {}

    async def load(self) -> None:
        """Fills the folder, from a Secret made now if there is none. Raises ``ApiError``."""
        self._mirror(await self._secret.read_or_make(lambda: asyncio.to_thread(self._made)))

    async def follow(self) -> None:
        """Keeps the folder as the Secret is, until cancelled. What cannot be read changes nothing."""
        while True:
            await asyncio.sleep(POLL)
            try:
                data = await self._secret.read()
            except ApiError as error:
                log.debug("CA not looked at error=%s", error)
                continue
            if data is not None:
                self._mirror(data)

    def _made(self) -> dict[str, bytes]:
        """The files of a new CA."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as place:
            Authority.create(Path(place), self._trust_domain)
            return {name: Path(place, "ca", name).read_bytes() for name in (BUNDLE, ISSUER, ISSUER_KEY)}

    def _mirror(self, data: Data) -> None:
        files = {}
        for name in (BUNDLE, ISSUER, ISSUER_KEY):
            content = data.get(name) or data.get(_CERT_MANAGER.get(name, ""))
            if content is None:
                log.error("the Secret %s has no %s; what was known counts", CA_SECRET, name)
                return
            files[name] = content
        if files == self._files:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            fresh = self.folder / f".{name}"
            fresh.touch(mode=0o600)
            fresh.write_bytes(content)
            fresh.replace(self.folder / name)
        self._files = files
