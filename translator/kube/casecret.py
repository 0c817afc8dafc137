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
from translator.identity.authority import BUNDLE, ISSUER, ISSUER_KEY, Authority, AuthorityError
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
        self._own = False
        """Whether the Secret was one of ours, not cert-manager's."""

    async def load(self) -> None:
        """Fills the folder, from a Secret made now if there is none. Raises ``ApiError``."""
        self._mirror(await self._secret.read_or_make(lambda: asyncio.to_thread(self._made)))

    async def follow(self) -> None:
        """Keeps the folder as the Secret is, until cancelled. What cannot be read changes nothing.

        A Secret that was deleted is put back: with the next start of a controller there would be another CA, which no
        sidecar trusts that runs. Not at the first look, since somebody may be replacing it; nor cert-manager's.
        """
        missing = 0
        while True:
            await asyncio.sleep(POLL)
            try:
                data = await self._secret.read()
                missing = missing + 1 if data is None else 0
                if data is None and missing > 1 and await asyncio.to_thread(self._worth_keeping):
                    log.error("the Secret %s was deleted; it is put back as it was", CA_SECRET)
                    data = await self._secret.read_or_make(self._known)
            except ApiError as error:
                log.debug("CA not looked at error=%s", error)
                continue
            if data is not None:
                self._mirror(data)
            elif missing == 1:
                log.error("there is no Secret %s any more; what was known counts until the controller ends", CA_SECRET)

    def _worth_keeping(self) -> bool:
        """Whether what was in the Secret last is a CA of ours; what cannot be read must not come back."""
        try:
            Authority.load(self.folder, self._trust_domain)
        except AuthorityError:
            return False
        return self._own

    async def _known(self) -> Data:
        return self._files

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
        self._own = all(data.get(name) for name in files)
        if files == self._files:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            fresh = self.folder / f".{name}"
            fresh.touch(mode=0o600)
            fresh.write_bytes(content)
            fresh.replace(self.folder / name)
        self._files = files
