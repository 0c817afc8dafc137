"""The mesh's CA in a Secret of its own namespace, mirrored into a folder that ``translator.identity`` follows.

``smi-mesh-identity`` has ``ca.crt``, ``issuer.crt`` and ``issuer.key``; one that cert-manager writes has ``tls.crt``
and ``tls.key`` instead. If there is none, one is made: of several replicas that do so at once one wins, for all.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from smi.sources.apiserver import ApiError, ApiServer
from translator.identity.authority import BUNDLE, ISSUER, ISSUER_KEY, Authority
from translator.kube.names import CA_SECRET, LABELS

POLL: Final = 5.0
"""Seconds between looks: a rotation takes longer by far, and a GET of one object costs nothing."""

_CERT_MANAGER: Final = {ISSUER: "tls.crt", ISSUER_KEY: "tls.key"}

log = logging.getLogger("translator.identity")


class CaSecret:
    """The Secret in ``namespace``, and ``folder`` with its files."""

    def __init__(self, api: ApiServer, namespace: str, folder: Path, trust_domain: str) -> None:
        self.folder = folder
        self._api, self._namespace, self._trust_domain = api, namespace, trust_domain
        self._files: dict[str, bytes] = {}

    async def load(self) -> None:
        """Fills the folder, from a Secret made now if there is none. Raises ``ApiError``."""
        secret = await self._get() or await self._create()
        self._mirror(secret)

    async def follow(self) -> None:
        """Keeps the folder as the Secret is, until cancelled. What cannot be read changes nothing."""
        while True:
            await asyncio.sleep(POLL)
            try:
                secret = await self._get()
            except ApiError as error:
                log.debug("CA not looked at error=%s", error)
                continue
            if secret is not None:
                self._mirror(secret)

    async def _get(self) -> Mapping[str, Any] | None:
        try:
            return await self._api.get(f"{self._path}/{CA_SECRET}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _create(self) -> Mapping[str, Any]:
        data = await asyncio.to_thread(self._made)
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CA_SECRET, "labels": LABELS},
            "type": "Opaque",
            "data": {name: base64.b64encode(content).decode() for name, content in data.items()},
        }
        try:
            made = await self._api.create(self._path, secret)
        except ApiError as error:
            if error.status != 409:
                raise
            return await self._api.get(f"{self._path}/{CA_SECRET}")
        log.info("made a root of the mesh's own secret=%s/%s", self._namespace, CA_SECRET)
        return made

    def _made(self) -> dict[str, bytes]:
        """The files of a new CA."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as place:
            Authority.create(Path(place), self._trust_domain)
            return {name: Path(place, "ca", name).read_bytes() for name in (BUNDLE, ISSUER, ISSUER_KEY)}

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/secrets"

    def _mirror(self, secret: Mapping[str, Any]) -> None:
        data = secret.get("data") or {}
        files = {}
        for name in (BUNDLE, ISSUER, ISSUER_KEY):
            text = data.get(name) or data.get(_CERT_MANAGER.get(name, ""))
            if text is None:
                log.error("the Secret %s/%s has no %s; what was known counts", self._namespace, CA_SECRET, name)
                return
            files[name] = base64.b64decode(text)
        if files == self._files:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            fresh = self.folder / f".{name}"
            fresh.touch(mode=0o600)
            fresh.write_bytes(content)
            fresh.replace(self.folder / name)
        self._files = files
