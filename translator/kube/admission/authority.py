"""The CA of what the API server calls: it trusts it for our webhooks and our aggregated API, and for nothing else.

It is in the Secret ``smi-mesh-webhook``, made if there is none; each replica issues itself a certificate of it, in
memory alone. ``heal`` writes the CA into the webhook configurations, and again when somebody takes it out.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.contract.spiffe import BACKDATE
from smi.sources.apiserver import JSON_PATCH, ApiError, ApiServer
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
        self._certificate: x509.Certificate
        self._key: ec.EllipticCurvePrivateKey

    async def load(self) -> None:
        """From the Secret, which is made if there is none. Raises ``ApiError``."""
        self._take(await self._secret.read_or_make(_made))

    def _take(self, data: Data) -> None:
        certificate, key = (data.get(name, b"") for name in ("ca.crt", "ca.key"))
        self._certificate = x509.load_pem_x509_certificate(certificate)
        loaded = serialization.load_pem_private_key(key, password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError(f"the key in Secret {WEBHOOK_SECRET} is no EC key")
        self._key = loaded

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
        """Gives a server's context a new certificate."""
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
            .sign(self._key, hashes.SHA256())
        )
        use_pair(context, _pem(leaf), private_pem(key))

    async def heal(self) -> None:
        """Keeps the CA in the webhook configurations and the APIServices, until cancelled."""
        told: dict[str, str] = {}
        while True:
            for path in self._paths:
                try:
                    await self._heal(path)
                    told.pop(path, None)
                except ApiError as error:
                    if told.get(path) != str(error):
                        log.warning("caBundle not written error=%s", error)
                    told[path] = str(error)
            await asyncio.sleep(POLL)

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


async def _made() -> Data:
    """A CA for webhook certificates alone."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smi-mesh webhooks")])
    certificate, key = self_signed(name, datetime.now(UTC))
    return {"ca.crt": _pem(certificate), "ca.key": private_pem(key)}


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
