"""The kubelet's probes of the application, served at ``/probe/<name>`` of the admin port.

The kubelet has no identity that policy could let in, so it asks the sidecar, which asks the application exactly what
the pod's author declared and nothing else, and judges the answer as the kubelet does. Everybody who reaches the port
can have a probe run, so of each there is one under way at a time: who asks meanwhile gets its result.

Sources: Kubernetes, "Configure Liveness, Readiness and Startup Probes"; the kubelet's ``pkg/probe`` and
``pkg/kubelet/lifecycle``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import aiohttp
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from proxy import grpchealth, probehttp
from proxy.contract.config import Probe

log = logging.getLogger("proxy.probes")

PROBE: Final = "/probe/"
"""Path on the admin port; the probe's name comes after it."""

READ: Final = 4096
"""Bytes of a gRPC answer read at a time; it has about two hundred."""

SAID: Final = 500
"""Characters of a reason; servers choose some of them."""

AGENT: Final = "kube-probe/smi-mesh"
"""For who asks without a User-Agent. The kubelet's own is handed on: applications log probes by it, or do not."""


class Failed(Exception):
    """The application did not answer as it should; the text says how."""


class Probes:
    """``address`` is where the application listens."""

    def __init__(self, probes: Iterable[Probe], address: str) -> None:
        self._probes = {probe.name: probe for probe in probes}
        self._address = address
        self._running: dict[str, asyncio.Task[tuple[int, str]]] = {}
        self._said: dict[str, str] = {}

    async def handle(self, request: BaseRequest) -> Response:
        """200 where the application is well; its own status where it answered an error, 503 where it did not answer.

        A hook's failure ends the connection instead: to the kubelet any answer is success.
        """
        name = request.path.removeprefix(PROBE)
        probe = self._probes.get(name)
        if probe is None:
            return Response(status=404, text="no such probe is declared\n")
        running = self._running.get(name)
        if running is None:
            asking = self._judged(probe, request.headers.get("User-Agent", AGENT))
            running = self._running[name] = asyncio.create_task(asking, name=f"probe {name}")
            running.add_done_callback(lambda _: self._running.pop(name))
        # Whoever goes away meanwhile must not take the result from the others.
        status, text = await asyncio.shield(running)
        response = Response(status=status, text=f"{text}\n")
        if probe.hook:
            # On a connection used before, the kubelet's client would take the end for a race and ask once more.
            response.force_close()
            if status >= 400 and request.transport is not None:
                request.transport.abort()
        return response

    async def _judged(self, probe: Probe, agent: str) -> tuple[int, str]:
        """The status for the kubelet, and why. That is logged when it changes: the kubelet's Events do not have it."""
        status, text = await self._tried(probe, agent)
        # The application may have chosen these words, for a log line of its own making.
        text = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split())[:SAID])
        said = text if status >= 400 else "well"
        # An application that is well from the first is not worth a line.
        if said != self._said.get(probe.name, "well"):
            log.info("probe %s: %s", probe.name, said)
        self._said[probe.name] = said
        return status, text

    async def _tried(self, probe: Probe, agent: str) -> tuple[int, str]:
        """503 for an application that did not answer, or not what was asked."""
        try:
            async with asyncio.timeout(None if probe.hook else probe.timeout):
                status = await self._ask(probe, agent)
        except TimeoutError as error:
            return 503, str(error) or f"no answer within {probe.timeout:g} s"
        except aiohttp.ClientResponseError as error:
            return 503, f"it does not answer in HTTP/1: {error.message}"
        # ValueError: an address or a header that nobody can send, declared or in a redirect.
        except (Failed, aiohttp.ClientError, OSError, ValueError) as error:
            return 503, str(error) or type(error).__name__
        return judge(status, probe.hook), f"{status}"

    async def _ask(self, probe: Probe, agent: str) -> int:
        match probe.kind:
            case "http":
                return await probehttp.status_of(probe, self._address, agent)
            case "tcp":
                _, writer = await asyncio.open_connection(self._address, probe.port)
                writer.transport.abort()
            case "grpc":
                await self._grpc(probe, agent)
        return 200

    async def _grpc(self, probe: Probe, agent: str) -> None:
        from proxy import grpccall  # noqa: PLC0415 (0.7 MB for those who have such a probe)

        fields = grpchealth.headers(probehttp.authority(self._address, probe.port), agent, probe.timeout)
        opening = grpccall.opening(fields, grpchealth.request(probe.service))
        call = grpccall.Call()
        reader, writer = await asyncio.open_connection(self._address, probe.port)
        try:
            writer.write(opening)
            while not call.answer.ended:
                data = await reader.read(READ)
                if not data:
                    raise Failed("it ends the connection without an answer")
                writer.write(call.receive(data))
        except grpccall.Broken as error:
            raise Failed(str(error)) from error
        finally:
            writer.transport.abort()
        reason = grpchealth.unhealthy(call.answer.headers, call.answer.trailers, call.answer.body)
        if reason:
            raise Failed(reason)


def judge(status: int, hook: bool) -> int:
    """What the kubelet is told of an application's status; it takes 200–399 for well, and for a hook all there are."""
    if hook or 200 <= status < 400:
        return 200
    return status if 400 <= status < 600 else 503
