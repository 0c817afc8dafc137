"""Namespace, ServiceAccount, ConfigMap and Service of Kubernetes' core group."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from smi.errors import Invalid
from smi.names import shown
from smi.wire.base import Port, PortOrName, Wire, one_of
from smi.wire.metadata import LabelMetadata, Object
from smi.workloads import ConfigMap, Namespace, Service, ServiceAccount, ServicePort

HEADLESS = "None"
"""The ``clusterIP`` of a Service that has none."""


class WireNamespace(Object):
    """Namespace; it is in no namespace itself."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"spec", "status"})
    metadata: LabelMetadata

    def to_hub(self) -> Namespace:
        """The hub's object."""
        return Namespace(meta=replace(self.metadata.to_meta(), namespace=""))


class WireServiceAccount(Object):
    """ServiceAccount: only that it exists."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "secrets",
            "imagePullSecrets",
            "automountServiceAccountToken",
            "status",
        }
    )

    def to_hub(self) -> ServiceAccount:
        """The hub's object."""
        return ServiceAccount(meta=self.metadata.to_meta())


class WireConfigMap(Object):
    """ConfigMap; ``binaryData`` is not read."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"binaryData", "immutable", "status"})
    data: dict[str, str] = Field(default_factory=dict)

    def to_hub(self) -> ConfigMap:
        """The hub's object."""
        return ConfigMap(meta=self.metadata.to_meta(), data=self.data)


def _empty_is_none(value: object) -> object:
    return None if value in ("", 0) else value


def _cluster_ip(value: str) -> str:
    try:
        if value not in ("", HEADLESS):
            ip_address(value)
    except ValueError:
        raise Invalid(f"must be an address or {HEADLESS}, not {shown(value)}") from None
    return value


class WireServicePort(Wire):
    """One of a Service's ``ports``. Without ``targetPort`` it is the same port."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"nodePort"})
    port: Port
    name: str = ""
    target_port: Annotated[PortOrName | None, BeforeValidator(_empty_is_none)] = None
    protocol: Annotated[str, one_of("TCP", "UDP", "SCTP")] = "TCP"
    app_protocol: str = ""

    def to_hub(self) -> ServicePort:
        """The hub's object."""
        return ServicePort(
            port=self.port,
            name=self.name,
            target_port=self.port if self.target_port is None else self.target_port,
            protocol=self.protocol,
            app_protocol=self.app_protocol,
        )


class ServiceSpec(Wire):
    """``spec`` of a Service."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "allocateLoadBalancerNodePorts",
            "clusterIPs",
            "externalIPs",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "internalTrafficPolicy",
            "ipFamilies",
            "ipFamily",
            "ipFamilyPolicy",
            "loadBalancerClass",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "publishNotReadyAddresses",
            "sessionAffinity",
            "sessionAffinityConfig",
            "topologyKeys",
            "trafficDistribution",
        }
    )
    ports: list[WireServicePort] = Field(default_factory=list)
    selector: dict[str, str] = Field(default_factory=dict)
    type: Annotated[str, one_of("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")] = "ClusterIP"
    cluster_ip: Annotated[str, AfterValidator(_cluster_ip)] = Field(default="", alias="clusterIP")
    external_name: str = ""
    publish_not_ready_addresses: bool = False


class WireService(Object):
    """Service."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"status"})
    metadata: LabelMetadata
    spec: ServiceSpec = Field(default_factory=ServiceSpec)

    def to_hub(self) -> Service:
        """The hub's object."""
        spec = self.spec
        return Service(
            meta=self.metadata.to_meta(),
            ports=tuple(port.to_hub() for port in spec.ports),
            selector=spec.selector,
            type=spec.type,
            cluster_ip=spec.cluster_ip,
            external_name=spec.external_name,
            publish_not_ready=spec.publish_not_ready_addresses,
        )
