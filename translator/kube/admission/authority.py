"""The CA of what the API server calls: it trusts it for our webhooks and our aggregated API, and for nothing else.

It is in the Secret ``smi-mesh-webhook``, made if there is none; each replica issues itself a certificate of it, in
memory alone. ``heal`` writes the CA into the webhook configurations, and again when somebody takes it out. What is in
the Secret counts, also when that is another one later: replicas that each kept their own would write over each other's.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from weakref import WeakSet

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.contract.spiffe import BACKDATE
from smi.sources.apiserver import JSON_PATCH, ApiError, ApiServer
from translator.identity.authority import AuthorityError, issued_by
from translator.identity.roots import private_pem, self_signed
from translator.identity.serving import use_pair
from translator.kube.names import INJECTOR, METRICS_SERVICE, VALIDATOR, WEBHOOK_SECRET, WEBHOOK_SERVICE
from translator.kube.secret import Data, Secret
from translator.metricsapi.autoscaling import groups
from translator.metricsapi.kinds import GROUP, VERSIONS

CONFIGURATIONS: Final = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + INJECTOR,
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/" + VALIDATOR,
)

APISERVICES: Final = "/apis/apiregistration.k8s.io/v1/apiservices/"
API_SERVICES: Final = tuple(f"{APISERVICES}{version}.{GROUP}" for version in VERSIONS)

HPA_SERVICES: Final = tuple(
    f"{APISERVICES}{version}.{group}" for group, versions in groups.VERSIONS.items() for version in versions
)
"""There only where they were asked for, and then perhaps another adapter's."""

LEAF_LIFE: Final = timedelta(days=30)
"""A replica that runs longer renews at half of it."""

POLL: Final = 5.0
"""Seconds between looks at the configurations."""

log = logging.getLogger("translator.admission")


class WebhookAuthority:
    """The CA, as soon as ``load`` has returned."""

    def __init__(self, api: ApiServer, namespace: str, *, hpa_metrics: bool = False) -> None:
        self._api, self._namespace = api, namespace
        self._paths = (*CONFIGURATIONS, *API_SERVICES, *(HPA_SERVICES if hpa_metrics else ()))
        self._secret = Secret(api, namespace, WEBHOOK_SECRET)
        self._contexts: WeakSet[ssl.SSLContext] = WeakSet()
        """Those that have a certificate of this CA."""
        self._certificate: x509.Certificate
        self._key: ec.EllipticCurvePrivateKey

    async def load(self) -> None:
        """From the Secret, which is made if there is none. Raises ``ApiError`` or ``AuthorityError``."""
        self._certificate, self._key = _read(await self._secret.read_or_make(_made))

    def context(self) -> ssl.SSLContext:
        """To serve with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.certify(context)
        return context

    async def keep(self, context: ssl.SSLContext) -> None:
        """Renews the certificate in ``context`` at half of its life, until cancelled; new connections get it."""
        while True:
            await asyncio.sleep(LEAF_LIFE.total_seconds() / 2)
            self.certify(context)

    def certify(self, context: ssl.SSLContext) -> None:
        """Gives a server's context a new certificate, and another one when the CA is exchanged."""
        self._contexts.add(context)
        key = ec.generate_private_key(ec.SECP256R1())
        services = (WEBHOOK_SERVICE, METRICS_SERVICE)
        names = [f"{service}.{self._namespace}.{end}" for service in services for end in ("svc", "svc.cluster.local")]
        now = datetime.now(UTC)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + LEAF_LIFE)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(issued_by(self._certificate), critical=False)  # Python 3.13 asks for it
            .sign(self._key, hashes.SHA256())
        )
        use_pair(context, _pem(leaf), private_pem(key))

    async def heal(self) -> None:
        """Keeps the CA in the webhook configurations and the APIServices, until cancelled."""
        told: dict[str, str] = {}
        while True:
            for path in ("", *self._paths):
                try:
                    await (self._heal(path) if path else self._agree())
                    told.pop(path, None)
                except (ApiError, AuthorityError) as error:
                    if told.get(path) != str(error):
                        what = "caBundle not written" if path else "CA of the webhooks not looked at"
                        log.warning("%s error=%s", what, error)
                    told[path] = str(error)
            await asyncio.sleep(POLL)

    async def _agree(self) -> None:
        """Takes what is in the Secret; puts it back where it was deleted. Raises ``ApiError`` or ``AuthorityError``."""

        async def ours() -> Data:
            return {"ca.crt": _pem(self._certificate), "ca.key": private_pem(self._key)}

        certificate, key = _read(await self._secret.read_or_make(ours))
        if certificate == self._certificate:
            return
        self._certificate, self._key = certificate, key
        for context in list(self._contexts):
            self.certify(context)
        log.info("another CA of the webhooks secret=%s", WEBHOOK_SECRET)

    async def _heal(self, path: str) -> None:
        found = await self._api.get(path)
        wanted = base64.b64encode(_pem(self._certificate)).decode()
        patch: list[dict[str, Any]] = []
        if path.startswith(APISERVICES) and self._ours(found) and found["spec"].get("caBundle") != wanted:
            patch.append({"op": "add", "path": "/spec/caBundle", "value": wanted})
        for index, webhook in enumerate(found.get("webhooks") or ()):
            if (webhook.get("clientConfig") or {}).get("caBundle") != wanted:
                patch.append({"op": "test", "path": f"/webhooks/{index}/name", "value": webhook["name"]})
                patch.append({"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted})
        if patch:
            await self._api.patch(path, patch, JSON_PATCH)
            log.info("caBundle written configuration=%s", path.rpartition("/")[2])

    def _ours(self, found: dict[str, Any]) -> bool:
        """A group of autoscalers is one for the whole cluster: whoever else serves it keeps it."""
        service = found["spec"].get("service") or {}
        return (service.get("name"), service.get("namespace")) == (METRICS_SERVICE, self._namespace)


def _read(data: Data) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Certificate and key of the Secret. Raises ``AuthorityError``."""
    try:
        certificate = x509.load_pem_x509_certificate(data.get("ca.crt", b""))
        key = serialization.load_pem_private_key(data.get("ca.key", b""), password=None)
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"Secret {WEBHOOK_SECRET}: ca.crt or ca.key cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError(f"Secret {WEBHOOK_SECRET}: ca.key is not the EC key of ca.crt")
    return certificate, key


async def _made() -> Data:
    """A CA for webhook certificates alone."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smi-mesh webhooks")])
    certificate, key = self_signed(name, datetime.now(UTC))
    return {"ca.crt": _pem(certificate), "ca.key": private_pem(key)}


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
