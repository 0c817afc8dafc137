"""The kubelet's probes of the application, served at ``/probe/<name>`` of the admin port.

The kubelet has no identity that policy could let in, so it asks the sidecar, which asks the application exactly what
the pod's author declared and nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from proxy.contract.config import Probe

AT_ONCE: Final = 16
"""Probes under way; the kubelet has a few containers' worth of them."""


class Probes:
    """``address`` is where the application listens."""

    def __init__(self, probes: Iterable[Probe], address: str) -> None:
        self._probes = {probe.name: probe for probe in probes}
        self._address = address
        self._room = asyncio.Semaphore(AT_ONCE)

    async def handle(self, request: web.Request) -> web.Response:
        """200 where the application is well; its own status where it answered another, 503 where it did not."""
        probe = self._probes.get(request.match_info["name"])
        if probe is None:
            return web.Response(status=404, text="no such probe is declared\n")
        async with self._room:
            try:
                async with asyncio.timeout(probe.timeout):
                    status = await self._ask(probe)
            except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
                return web.Response(status=503, text=f"{str(error) or type(error).__name__}\n")
        return web.Response(status=200 if status < 400 else status, text=f"{status}\n")

    async def _ask(self, probe: Probe) -> int:
        if probe.kind == "http":
            url = URL.build(scheme=probe.scheme, host=self._address, port=probe.port).join(
                URL(probe.path, encoded=True)
            )
            headers = {"User-Agent": "kube-probe/smi-mesh", "Connection": "close", **dict(probe.headers)}
            connector = aiohttp.TCPConnector(ssl=False, force_close=True)
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.get(url, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status
        _, writer = await asyncio.open_connection(self._address, probe.port)
        writer.close()
        return 200
