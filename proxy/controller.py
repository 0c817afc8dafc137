"""Connections to the controller, on which nothing is sent before the controller has shown who it is.

Enrolment sends a token and the control stream takes orders, so both open their
connections here. Neighbours: ``proxy.enrolment``, ``proxy.subscribe``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import aiohttp
from yarl import URL

from proxy.contract.config import Control
from proxy.contract.spiffe import PeerRejected
from proxy.tls import CONTROL_ALPN, peer_of


class WrongController(aiohttp.ServerFingerprintMismatch):
    """What answers at the controller's address has another identity or none; nothing was sent to it."""

    def __init__(self, reason: str, address: str, port: int) -> None:
        super().__init__(b"", b"", address, port)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.host}:{self.port} is not the controller: {self.reason}"


class _ControllerCheck(aiohttp.Fingerprint):
    """aiohttp's hook between handshake and request. Called on each new connection, before any byte is written."""

    def __init__(self, control: Control, trust_domain: str, now: Callable[[], datetime]) -> None:
        super().__init__(bytes(32))
        self._control, self._trust_domain, self._now = control, trust_domain, now

    def check(self, transport: asyncio.Transport) -> None:
        control = self._control
        try:
            peer = peer_of(transport, self._trust_domain, self._now(), CONTROL_ALPN)
        except PeerRejected as error:
            raise WrongController(str(error), control.address, control.port) from error
        if peer.identity != control.identity:
            raise WrongController(f"it is {peer.identity}", control.address, control.port)


def controller_session(
    control: Control, trust_domain: str, now: Callable[[], datetime], timeout: aiohttp.ClientTimeout
) -> aiohttp.ClientSession:
    """A client session whose connections are checked. Give each request ``ssl=`` a context of ``proxy.tls``.

    Requests raise ``WrongController`` (an ``aiohttp.ClientError``). Redirects must be refused by the caller.
    """
    connector = aiohttp.TCPConnector(ssl=_ControllerCheck(control, trust_domain, now), force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


def controller_url(control: Control, path: str) -> URL:
    """``https://<controller><path>``."""
    return URL.build(scheme="https", host=control.address, port=control.port, path=path)
