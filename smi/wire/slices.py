"""EndpointSlice of Kubernetes' discovery group (discovery.k8s.io/v1): who answers for a Service without selector.

``nodeName``, ``zone`` and ``hints`` are about where an endpoint is and are not read.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final

from pydantic import Field

from smi.names import shown
from smi.problems import Step
from smi.wire.base import Port, Wire, WireError, one_of
from smi.wire.metadata import Object
from smi.workloads import EndpointSlice, SliceEndpoint, SlicePort

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""The label by which a slice names its Service."""

_KINDS: Final[dict[str, type[IPv4Address | IPv6Address]]] = {"IPv4": IPv4Address, "IPv6": IPv6Address}


class Conditions(Wire):
    """``conditions`` of an endpoint."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool = False


class Target(Wire):
    """``targetRef``: what the endpoint is."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class WireSliceEndpoint(Wire):
    """One of a slice's ``endpoints``."""

    addresses: list[str] = Field(min_length=1)
    conditions: Conditions = Field(default_factory=Conditions)
    target_ref: Target = Field(default_factory=Target)

    def to_hub(self, namespace: str) -> SliceEndpoint:
        """The hub's object."""
        said, target = self.conditions, self.target_ref
        ready = said.ready is not False
        return SliceEndpoint(
            address=_canonical(self.addresses[0]),
            ready=ready,
            serving=ready if said.serving is None else said.serving,
            terminating=said.terminating,
            pod=f"{target.namespace or namespace}/{target.name}" if target.kind == "Pod" and target.name else "",
        )


class WireSlicePort(Wire):
    """One of a slice's ``ports``. Without a number it stands for all, which nobody can call."""

    port: Port | None = None
    name: str = ""
    protocol: Annotated[str, one_of("TCP", "UDP", "SCTP")] = "TCP"
    app_protocol: str = ""


class WireEndpointSlice(Object):
    """EndpointSlice. Without the label it belongs to no Service."""

    address_type: Annotated[str, one_of("IPv4", "IPv6", "FQDN")]
    endpoints: list[WireSliceEndpoint] = Field(default_factory=list)
    ports: list[WireSlicePort] = Field(default_factory=list)

    def to_hub(self) -> EndpointSlice:
        """The hub's object.

        Raises:
            WireError: an address that is not of ``addressType``.
        """
        meta = self.metadata.to_meta()
        faults = [fault for index, one in enumerate(self.endpoints) for fault in self._faults(index, one)]
        if faults:
            raise WireError(*faults)
        return EndpointSlice(
            meta=meta,
            service=meta.labels.get(SERVICE_NAME, ""),
            address_type=self.address_type,
            endpoints=tuple(one.to_hub(meta.namespace) for one in self.endpoints),
            ports=tuple(
                SlicePort(port=one.port, name=one.name, protocol=one.protocol, app_protocol=one.app_protocol)
                for one in self.ports
                if one.port is not None
            ),
        )

    def _faults(self, index: int, endpoint: WireSliceEndpoint) -> list[tuple[tuple[Step, ...], str]]:
        wanted = _KINDS.get(self.address_type)
        if wanted is None:
            return []
        return [
            (("endpoints", index, "addresses", number), f"must be an {self.address_type} address, not {shown(text)}")
            for number, text in enumerate(endpoint.addresses)
            if not _is(wanted, text)
        ]


def _canonical(text: str) -> str:
    """An address has one form; a name stays as it is."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _is(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        return isinstance(ip_address(text), kind)
    except ValueError:
        return False
