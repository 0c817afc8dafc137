"""The name a certificate is issued to: one sidecar of one pod."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.contract.config import spiffe_id
from proxy.contract.spiffe import is_label, is_subdomain, pod_name


class BadIdentity(ValueError):
    """A name that Kubernetes would not have given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarIdentity:
    """A pod and the ServiceAccount it runs as; names are DNS-1123 or ``BadIdentity`` is raised."""

    namespace: str
    service_account: str
    pod: str

    def __post_init__(self) -> None:
        if not (is_label(self.namespace) and is_subdomain(self.service_account) and is_subdomain(self.pod)):
            raise BadIdentity("namespace, service account or pod is no DNS-1123 name")

    def spiffe_id(self, trust_domain: str) -> str:
        """Its SPIFFE ID: the URI of its certificate."""
        return spiffe_id(trust_domain, self.namespace, self.service_account)

    @property
    def dns_name(self) -> str:
        """``pod.namespace.pod``: the DNS name of its certificate."""
        return pod_name(self.pod, self.namespace)
