"""Names as SMI objects and sidecars write them, and the keys they mean.

The reading of Service names is ``smi.names``'; ``proxy.matching`` does the same
for the authority of a request.
"""

from __future__ import annotations

from smi.names import ServiceName, parse_service_reference
from smi.workloads import Pod


def service_key(reference: str, namespace: str, cluster_domain: str) -> str | None:
    """The key of the Service that ``reference`` in an object of ``namespace`` means, None outside that namespace."""
    named = parse_service_reference(reference, namespace, cluster_domain)
    if isinstance(named, ServiceName) and named.namespace == namespace:
        return f"{namespace}/{named.name}"
    return None


def pod_dns_name(pod: Pod) -> str:
    """The DNS name in a pod's certificate: ``<pod>.<namespace>.pod``."""
    return f"{pod.meta.name}.{pod.meta.namespace}.pod"


def cluster_key(service: str, port: int) -> str:
    """The key of the endpoints of one Service port (``port`` is the Service's)."""
    return f"{service}:{port}"


def pod_cluster_key(address: str, port: int) -> str:
    """The key of one container port of the pod at ``address``."""
    return f"pod:{address}:{port}"
