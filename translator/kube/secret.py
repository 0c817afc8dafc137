"""A Secret of the mesh's own: as it is, or made now. Of several replicas that make it at once one wins, for all."""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Mapping

from smi.sources.apiserver import ApiError, ApiServer
from translator.kube.names import LABELS

Data = Mapping[str, bytes]

log = logging.getLogger("translator.identity")


class Secret:
    """The Secret ``name`` in ``namespace``. Raises ``ApiError``."""

    def __init__(self, api: ApiServer, namespace: str, name: str) -> None:
        self._api, self._name = api, name
        self._path = f"/api/v1/namespaces/{namespace}/secrets"

    async def read(self) -> Data | None:
        """What is in it; None where there is none."""
        try:
            return await self._get()
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def read_or_make(self, make: Callable[[], Awaitable[Data]]) -> Data:
        """What is in it, or in the one that somebody else has just made, else what ``make`` gives."""
        data = await self.read()
        return data if data is not None else await self._create(await make())

    async def _create(self, data: Data) -> Data:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._name, "labels": LABELS},
            "type": "Opaque",
            "data": {name: base64.b64encode(content).decode() for name, content in data.items()},
        }
        try:
            await self._api.create(self._path, body)
        except ApiError as error:
            if error.status != 409:
                raise
            return await self._get()
        log.info("made secret=%s", self._name)
        return data

    async def _get(self) -> Data:
        found = await self._api.get(f"{self._path}/{self._name}")
        return {name: base64.b64decode(text) for name, text in (found.get("data") or {}).items()}
