"""Asking the controller for a certificate: a key and a request made here, one POST, an answer that is checked.

The private key never leaves this process but to the pod's own disk. Proof of
who we are is the certificate in hand while it is valid, the token otherwise.
Neighbours: ``proxy.identity`` decides when, ``translator.identity.enrol`` answers.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Final

import aiohttp
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.contract.config import Control
from proxy.contract.messages import Issued
from proxy.controller import controller_session, controller_url
from proxy.errors import SidecarError

PATH: Final = "/identity/v1/certificate"

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer: a certificate has about 900, a bundle of a hundred roots 100,000; there may be several."""

MAX_REASON: Final = 200
"""Characters of a refusal's text that are kept for the log."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=10, sock_connect=3)
"""Seconds for one attempt; a controller that is slower has more to do than to wait for us."""


class EnrolmentFailed(SidecarError):
    """No certificate this time. The text names no secret."""


def new_key_and_request(identity: str) -> tuple[bytes, bytes]:
    """A P-256 private key and a certificate request for the SPIFFE ID ``identity``, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
    )  # fmt: skip


async def enrol(
    control: Control,
    *,
    identity: str,
    trust_domain: str,
    context: ssl.SSLContext,
    token: str,
    now: Callable[[], datetime],
) -> tuple[bytes, Issued]:
    """A new private key (PEM) and the controller's answer for it, unchecked but for its size and form.

    ``context`` carries the certificate that proves who we are, or ``token`` is not empty. Raises ``EnrolmentFailed``.
    """
    key, request = new_key_and_request(identity)
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
        return key, msgspec.json.decode(body, type=Issued)
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
    return "".join(character if character.isprintable() else " " for character in text)[:MAX_REASON]
