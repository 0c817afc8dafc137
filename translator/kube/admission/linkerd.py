"""Is Linkerd's own injector on the cluster? Then ``linkerd.io/inject`` is Linkerd's, and no alias of ours.

Otherwise a pod with this annotation would get two sidecars, which redirect each other's connections.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from smi.sources.apiserver import ApiError, ApiServer
from translator.kube.names import LINKERD_INJECTOR

PATH: Final = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{LINKERD_INJECTOR}"

POLL: Final = 5.0
"""Seconds between looks."""

log = logging.getLogger("translator.admission")


class Linkerd:
    """``present`` as of the last look that was answered."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self.present = False

    async def look(self) -> None:
        """Asks once; where nobody can say, what was known counts."""
        try:
            found = await installed(self._api)
        except ApiError as error:
            log.debug("not known whether Linkerd is here error=%s", error)
            return
        if found != self.present:
            log.info("linkerd.io/inject is %s", "Linkerd's: its injector is here" if found else "an alias of ours")
        self.present = found

    async def follow(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL)


async def installed(api: ApiServer) -> bool:
    """Whether it is there now. Raises ``ApiError``."""
    try:
        await api.get(PATH)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True
