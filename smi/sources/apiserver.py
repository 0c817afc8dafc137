"""A Kubernetes API server over HTTP: plain JSON in and out, one kind of error.

In a pod it is found by what the kubelet put there; elsewhere by a kubeconfig, which kubernetes-asyncio reads. That
package is imported only then: its models take 38 MB, which a controller in a pod has no use for.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

KUBECONFIG: Final = Path.home() / ".kube" / "config"
"""Where kubectl looks, if nothing else is said."""

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

TOKEN_SECONDS: Final = 60.0
"""Between two looks at the token: the kubelet replaces it at 80 % of its hour."""

TIMEOUT: Final = 30.0
"""Seconds for an answer that is no stream: a list of ten thousand pods takes some."""

CHUNK: Final = 1 << 16
"""Bytes that a stream is read in."""

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY: Final = "application/apply-patch+yaml"
"""Media types of bodies."""

Object = dict[str, Any]
Headers = Callable[[], Awaitable[Mapping[str, str]]]


class ApiError(Exception):
    """The API server refused or could not be reached: ``status`` is 0 then. The text names what was asked."""

    def __init__(self, asked: str, status: int, message: str, *, reason: str = "", retry_after: float = 0.0) -> None:
        super().__init__(f"{asked}: {f'{status} ' if status else ''}{message}")
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after = retry_after
        """Seconds after which to ask again, as the server wishes."""


class NoCluster(Exception):
    """Nothing says where a cluster is, or what says so cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the server is and how to show who we are."""

    url: str
    tls: ssl.SSLContext | None
    headers: Headers


class ApiServer:
    """Requests to one API server. An async context manager; raises ``ApiError``."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._access.tls or False, limit=64)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, **params: str) -> Object:
        """The object, list or document at ``path``."""
        return await self.send("GET", path, params=params)

    async def create(self, path: str, body: Mapping[str, Any]) -> Object:
        """POST to a collection."""
        return await self.send("POST", path, body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> Object:
        """PUT; refused with 409 where ``metadata.resourceVersion`` is not the newest."""
        return await self.send("PUT", path, body)

    async def patch(self, path: str, body: object, kind: str) -> Object:
        """PATCH with a body of the media type ``kind``."""
        return await self.send("PATCH", path, body, kind)

    async def send(
        self, verb: str, path: str, body: object = None, kind: str = JSON, params: Mapping[str, str] | None = None
    ) -> Object:
        """One request and its JSON answer."""
        headers = {"Accept": JSON, **await self._access.headers()}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = kind
        asked = f"{verb} {path}"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            async with self._session.request(
                verb, self._access.url + path, params=params, data=data, headers=headers, timeout=timeout
            ) as response:
                text = await response.read()
                if response.status >= 400:
                    raise refused(asked, response.status, text, response.headers.get("Retry-After", ""))
                return dict(json.loads(text))
        # What is JSON and no object is a TypeError.
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError) as error:
            raise ApiError(asked, 0, str(error) or type(error).__name__) from error

    async def stream(self, path: str, params: Mapping[str, str], silence: float) -> aiohttp.ClientResponse:
        """An answer to be read bit by bit (``response.content``) and closed; ``silence`` is how long one may wait."""
        headers = {"Accept": JSON, **await self._access.headers()}
        asked = f"GET {path}?watch"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=silence)
        try:
            response = await self._session.get(
                self._access.url + path, params=params, headers=headers, timeout=timeout, read_bufsize=CHUNK
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(asked, 0, str(error) or type(error).__name__) from error
        if response.status >= 400:
            text = await response.read()
            response.release()
            raise refused(asked, response.status, text, response.headers.get("Retry-After", ""))
        return response


def refused(asked: str, status: int, body: bytes, retry_after: str = "") -> ApiError:
    """The error in an answer: a ``metav1.Status`` where the server wrote it, else its beginning."""
    try:
        said = json.loads(body)
        message, reason = str(said["message"]), str(said.get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, reason = body[:200].decode("utf-8", "replace").strip() or "no text", ""
    seconds = float(retry_after) if retry_after.isdigit() else 0.0
    return ApiError(asked, status, message, reason=reason, retry_after=seconds)


def in_pod(account: Path = SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ) -> Access:
    """What the kubelet gives every pod. Raises ``NoCluster`` outside of one."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise NoCluster("KUBERNETES_SERVICE_HOST is not set: this is no pod")
    try:
        tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        token = _Token(account / "token")
        token.read()
    except (OSError, ssl.SSLError) as error:
        raise NoCluster(f"{account}: {error}") from error
    address = f"[{host}]" if ":" in host else host
    return Access(url=f"https://{address}:{port}", tls=tls, headers=token.headers)


class _Token:
    """A ServiceAccount token that is replaced on disk while we run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._read_at = 0.0

    def read(self) -> None:
        """Raises ``OSError``."""
        self._text = self._path.read_text("ascii").strip()
        self._read_at = time.monotonic()

    async def headers(self) -> Mapping[str, str]:
        if time.monotonic() - self._read_at > TOKEN_SECONDS:
            try:
                self.read()
            except OSError:
                self._read_at = time.monotonic()  # the one we have may do
        return {"Authorization": f"Bearer {self._text}"}


def _look_for(path: str | None) -> None:
    """What reads kubeconfigs takes one that is not there for an empty one. Raises ``NoCluster``."""
    named = path or os.environ.get("KUBECONFIG") or str(KUBECONFIG)
    files = [path] if path else named.split(os.pathsep)
    if not any(file and Path(file).expanduser().exists() for file in files):
        raise NoCluster(f"there is no kubeconfig {named}: name another with --kubeconfig or KUBECONFIG")


async def by_kubeconfig(path: str | None = None, context: str | None = None) -> Access:
    """The current context (or ``context``) of a kubeconfig file, ``KUBECONFIG`` or ``~/.kube/config``.

    Exec plugins are asked again when their token ends. Raises ``NoCluster``.
    """
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415
    from kubernetes_asyncio.config import ConfigException, load_kube_config  # noqa: PLC0415

    _look_for(path)
    settings = Configuration()
    try:
        await load_kube_config(config_file=path, context=context, client_configuration=settings)
    except (ConfigException, OSError, ValueError, TypeError) as error:
        raise NoCluster(f"no usable kubeconfig: {error}") from error

    async def headers() -> Mapping[str, str]:
        token = await settings.get_api_key_with_prefix("BearerToken")
        return {"Authorization": token} if token else {}

    url = str(settings.host or "").rstrip("/")
    tls = None
    if url.startswith("https"):
        tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if settings.cert_file:
            tls.load_cert_chain(settings.cert_file, settings.key_file)
        if not settings.verify_ssl:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return Access(url=url, tls=tls, headers=headers)
