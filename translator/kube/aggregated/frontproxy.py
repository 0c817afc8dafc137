"""Authentication by request headers, which only the kube-apiserver's own client certificate makes worth anything.

Its CA, its names and the headers' names are in the ConfigMap ``kube-system/extension-apiserver-authentication``,
which is followed. Without such a certificate nobody is believed anything; nor with one of a CA that was taken away,
on a connection that is from before.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from smi.sources.apiserver import ApiError, ApiServer
from translator.metricsapi.status import Refused

CONFIG: Final = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"

POLL: Final = 30.0
"""Seconds between looks: a front-proxy CA is exchanged with an overlap of hours."""

RENEW: Final = 24 * 3600.0
"""Seconds for which a certificate to serve with is used: a small part of its life."""

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----[\x00-\x7f]*?-----END CERTIFICATE-----")

log = logging.getLogger("translator.metricsapi")


class NoFrontProxy(ValueError):
    """The ConfigMap does not say whom to believe; the text says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """Whom to believe. No ``names``: anybody with a certificate of ``ca`` (PEM, nothing between the blocks)."""

    ca: str
    names: tuple[str, ...]
    user_headers: tuple[str, ...]
    uid_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """As the kube-apiserver says."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def trusted(data: Mapping[str, str]) -> Trusted:
    """The ConfigMap's data. Raises ``NoFrontProxy``."""
    ca = "\n".join(_PEM.findall(data.get("requestheader-client-ca-file") or ""))
    if not ca:
        raise NoFrontProxy("requestheader-client-ca-file is missing")
    users = _names(data, "requestheader-username-headers")
    if not users:
        raise NoFrontProxy("requestheader-username-headers is missing")
    return Trusted(
        ca=ca,
        names=_names(data, "requestheader-allowed-names"),
        user_headers=users,
        uid_headers=_names(data, "requestheader-uid-headers"),
        group_headers=_names(data, "requestheader-group-headers"),
        extra_prefixes=_names(data, "requestheader-extra-headers-prefix"),
    )


def _names(data: Mapping[str, str], key: str) -> tuple[str, ...]:
    try:
        found = json.loads(data.get(key) or "[]")
    except ValueError as error:
        raise NoFrontProxy(f"{key} is no list") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise NoFrontProxy(f"{key} is no list of names")
    return tuple(found)


def common_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Of a verified certificate as ``ssl.SSLSocket.getpeercert`` gives it; none without one."""
    subject = (certificate or {}).get("subject") or ()
    return tuple(value for part in subject for name, value in part if name == "commonName")


def user_of(
    certificate: Mapping[str, Any] | None, headers: Mapping[str, str], many: Callable[[str], list[str]], whom: Trusted
) -> User:
    """Who asks. ``many`` gives all values of a header. Raises ``Refused`` (401)."""
    if not certificate:
        raise Refused(401, "Unauthorized: this is for the kube-apiserver's proxy, which shows its certificate")
    if whom.names and not set(common_names(certificate)) & set(whom.names):
        raise Refused(401, "Unauthorized: the client certificate's name is not one of the kube-apiserver's proxy")
    name = _first(headers, whom.user_headers)
    if not name:
        raise Refused(401, "Unauthorized: no user is named")
    extra: dict[str, tuple[str, ...]] = {}
    for prefix in whom.extra_prefixes:
        for header in headers:
            if header.lower().startswith(prefix.lower()):
                # Kubernetes escapes what no header's name may have.
                extra[unquote(header[len(prefix) :].lower())] = tuple(many(header))
    groups = tuple(value for one in whom.group_headers for value in many(one) if value)
    return User(name=name, uid=_first(headers, whom.uid_headers), groups=groups, extra=tuple(sorted(extra.items())))


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((headers[one] for one in names if headers.get(one)), "")


def issued_by(certificate: bytes | None, ca: str) -> bool:
    """Whether one of ``ca`` (PEM) has signed ``certificate`` (DER) itself."""
    if not certificate:
        return False
    leaf = x509.load_der_x509_certificate(certificate)
    for one in x509.load_pem_x509_certificates(ca.encode()):
        try:
            leaf.verify_directly_issued_by(one)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


class FrontProxy:
    """Follows the ConfigMap, as soon as ``follow`` runs."""

    def __init__(self, api: ApiServer, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = api, clock
        self._whom: Trusted | None = None
        self._context: ssl.SSLContext | None = None
        self._certified = 0.0

    async def user(self, request: web.Request) -> User:
        """Who sent ``request``. Raises ``Refused`` (401)."""
        if self._whom is None:
            raise Refused(401, "Unauthorized: it is not known yet whom to believe")
        connection = request.get_extra_info("ssl_object")
        certificate = connection.getpeercert() if connection is not None else None
        if (
            certificate
            and connection.context is not self._context
            and not issued_by(connection.getpeercert(binary_form=True), self._whom.ca)
        ):
            raise Refused(401, "Unauthorized: the client certificate is not of a CA of the kube-apiserver's proxy now")
        return user_of(certificate, request.headers, lambda name: request.headers.getall(name, []), self._whom)

    async def follow(
        self, certify: Callable[[ssl.SSLContext], None], serve: Callable[[ssl.SSLContext], Awaitable[None]]
    ) -> None:
        """Until cancelled. ``serve`` is given a context, with a certificate by ``certify``, when the CA is another.

        What cannot be read changes nothing; before the first time nobody is served.
        """
        said = ""
        while True:
            try:
                await self._look(certify, serve)
                said = ""
            except (ApiError, NoFrontProxy, ssl.SSLError) as error:
                if str(error) != said:
                    log.warning("requests' headers cannot be trusted: %s", error)
                said = str(error)
            await asyncio.sleep(POLL if self._whom is not None else 1.0)

    async def _look(
        self, certify: Callable[[ssl.SSLContext], None], serve: Callable[[ssl.SSLContext], Awaitable[None]]
    ) -> None:
        found = await self._api.get(CONFIG)
        whom = trusted(found.get("data") or {})
        if self._context is None or self._whom is None or whom.ca != self._whom.ca:
            context = context_of(whom.ca)
            certify(context)
            await serve(context)
            self._context, self._certified = context, self._clock()
        elif self._clock() - self._certified > RENEW:
            certify(self._context)
            self._certified = self._clock()
        self._whom = whom


def context_of(ca: str) -> ssl.SSLContext:
    """To serve with: clients may show a certificate of ``ca`` (PEM). Raises ``ssl.SSLError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    # As in Go, what is named is trusted, be it signed by itself or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=ca)
    return context
