"""The other controllers of the same mesh: found among the pods, asked over mTLS on their control port.

A sidecar is connected to one controller, so each knows a part. Whoever asks shows the controller's own identity, and
so must who answers: nothing is said to anybody else. One that does not answer in time is left out, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from proxy.contract.spiffe import PeerRejected
from smi.workloads import Pod
from translator.identity.authority import Authority
from translator.identity.serving import calling_context, peer_at, peer_of
from translator.kube.names import CONTROLLER

TIMEOUT: Final = 0.3
"""Seconds for an answer; people wait for what is put together of them."""

RENEW: Final = timedelta(hours=1)
"""Of the certificate that is shown."""

MAX_ANSWER: Final = 64 << 20
"""Bytes of an answer: ten times what a full controller has to say."""

log = logging.getLogger("translator.peers")

T = TypeVar("T")


class NotAController(aiohttp.ServerFingerprintMismatch):
    """What answers at a controller's address has another identity or none; nothing was sent to it."""

    def __init__(self, reason: str) -> None:
        super().__init__(b"", b"", "", 0)
        self.reason = reason

    def __str__(self) -> str:
        return f"not a controller: {self.reason}"


class _Check(aiohttp.Fingerprint):
    """aiohttp's hook between handshake and request. Called on each new connection, before any byte is written."""

    def __init__(self, authority: Callable[[], Authority]) -> None:
        super().__init__(bytes(32))
        self._authority = authority

    def check(self, transport: asyncio.Transport) -> None:
        authority = self._authority()
        try:
            peer = peer_at(transport.get_extra_info("ssl_object"), authority)
        except PeerRejected as error:
            raise NotAController(str(error)) from error
        if peer.identity != authority.controller_identity:
            raise NotAController(f"it is {peer.identity}")


class Peers:
    """``own`` is this controller's pod, ``pods`` gives all there are, ``authority`` who signs now."""

    def __init__(
        self,
        own: str,
        namespace: str,
        port: int,
        pods: Callable[[], Iterable[Pod]],
        authority: Callable[[], Authority],
    ) -> None:
        self._own, self._namespace, self._port, self._pods, self._authority = own, namespace, port, pods, authority
        self._context: tuple[Authority, ssl.SSLContext, float] | None = None
        self._silent: frozenset[str] = frozenset()

    def others(self) -> list[Pod]:
        """The other controllers that are ready."""
        return [
            pod
            for pod in self._pods()
            if pod.meta.namespace == self._namespace
            and pod.service_account == CONTROLLER
            and pod.meta.name != self._own
            and pod.ready
        ]

    async def ask(self, path: str, params: Mapping[str, str] | None = None) -> list[bytes | None]:
        """What each of the others answers to a GET of ``path``; None for one that does not."""
        others = self.others()
        if not others:
            return []
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        connector = aiohttp.TCPConnector(ssl=_Check(self._authority), force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            answers = await asyncio.gather(*(self._one(session, pod, path, params or {}) for pod in others))
        silent = frozenset(pod.meta.name for pod, said in zip(others, answers, strict=True) if said is None)
        for name in sorted(silent - self._silent):
            log.warning("no answer from controller pod=%s", name)
        self._silent = silent
        return answers

    async def _one(
        self, session: aiohttp.ClientSession, pod: Pod, path: str, params: Mapping[str, str]
    ) -> bytes | None:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = f"https://{host}:{self._port}{path}"
        try:
            async with session.get(url, params=params, ssl=self._tls(), allow_redirects=False) as response:
                if response.status != 200 or (response.content_length or 0) > MAX_ANSWER:
                    return None
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("controller pod=%s error=%s", pod.meta.name, error)
            return None

    def _tls(self) -> ssl.SSLContext:
        authority = self._authority()
        now = authority.now().timestamp()
        known = self._context
        if known is None or known[0] is not authority or now > known[2]:
            known = self._context = authority, calling_context(authority), now + RENEW.total_seconds()
        return known[1]


def for_peers(
    authority: Callable[[], Authority], answer: Callable[[web.Request], Awaitable[bytes]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that answers controllers only; 403 for anybody else."""

    async def handle(request: web.Request) -> web.Response:
        try:
            identity = peer_of(request, authority()).identity
        except PeerRejected as error:
            return web.Response(status=403, text=f"{error}\n")
        if identity != authority().controller_identity:
            return web.Response(status=403, text="for controllers only\n")
        return web.Response(body=await answer(request), content_type="application/json")

    return handle


def read(answers: Iterable[bytes | None], decode: Callable[[bytes], T]) -> list[T | None]:
    """Answers decoded. One of another form counts as none: while a new version is rolled out there may be such."""
    found: list[T | None] = []
    for answer in answers:
        try:
            found.append(None if answer is None else decode(answer))
        except msgspec.MsgspecError:
            found.append(None)
    return found


def complete(answers: Sequence[T | None]) -> list[T] | None:
    """All answers, or None when one is missing."""
    found = [answer for answer in answers if answer is not None]
    return found if len(found) == len(answers) else None
