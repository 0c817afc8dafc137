"""Asking the controller for a certificate: one POST with a request for it, an answer that is checked.

Proof of who we are is the certificate in hand while it is valid, the token
otherwise. Neighbours: ``proxy.keys`` makes the request, ``proxy.identity``
decides when, ``translator.identity.enrol`` answers.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Final

import aiohttp
import msgspec

from proxy.contract.config import Control
from proxy.contract.messages import Issued
from proxy.controller import controller_session, controller_url
from proxy.errors import SidecarError, printable

PATH: Final = "/identity/v1/certificate"

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer: a certificate has about 900, a bundle of a hundred roots 100,000; there may be several."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=10, sock_connect=3)
"""Seconds for one attempt; a controller that is slower has more to do than to wait for us."""


class EnrolmentFailed(SidecarError):
    """No certificate this time. The text names no secret."""


async def enrol(
    control: Control,
    request: bytes,
    *,
    trust_domain: str,
    context: ssl.SSLContext,
    token: str,
    now: Callable[[], datetime],
) -> Issued:
    """The controller's answer to the certificate request (PEM), unchecked but for its size and form.

    ``context`` carries the certificate that proves who we are, or ``token`` is not empty. Raises ``EnrolmentFailed``.
    """
    headers = {"Content-Type": "application/x-pem-file"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = controller_url(control, PATH)
    try:
        async with (
            controller_session(control, trust_domain, now, TIMEOUT) as session,
            session.post(url, data=request, headers=headers, ssl=context, allow_redirects=False) as answer,
        ):
            body = await _read(answer)
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Only the text: the representation of aiohttp's errors shows the request's headers, token included.
        said = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        raise EnrolmentFailed(f"{type(error).__name__}: {said}".removesuffix(": ")) from None
    if status != 200:
        raise EnrolmentFailed(f"refused with {status}: {_printable(body, token)}")
    try:
        return msgspec.json.decode(body, type=Issued)
    except msgspec.MsgspecError as error:
        raise EnrolmentFailed(f"an answer that cannot be read: {error}") from error


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise EnrolmentFailed(f"an answer of more than {MAX_ANSWER} bytes")
    return bytes(body)


def _printable(body: bytes, token: str) -> str:
    text = body.decode("ascii", "replace")
    if token:
        text = text.replace(token, "…")
    return printable(text)
