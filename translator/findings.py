"""What the compiler has to say about objects that do not mean what their author hoped.

Findings are values beside a result, never errors: the rest of the config still
works. They are listed by the API; ``translator.review`` collects those of a whole world.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from smi.meta import Meta

Kind = Literal[
    "TrafficSplit", "TrafficTarget", "IdentityBinding", "UDPRoute", "Service", "EndpointSlice", "Pod", "Namespace"
]


class Reason(StrEnum):
    """The reasons a finding may give; they are part of the API."""

    SERVICE_NOT_FOUND = "ServiceNotFound"
    ROOT_IN_OTHER_NAMESPACE = "RootInOtherNamespace"
    EXTERNAL_NAME = "ExternalName"
    CONFLICTED = "Conflicted"
    PORT_NOT_FOUND = "PortNotFound"
    WEIGHTS_ZERO = "WeightsZero"
    ROUTE_NOT_FOUND = "RouteNotFound"
    BINDING_NOT_FOUND = "BindingNotFound"
    UNSUPPORTED_KIND = "UnsupportedKind"
    UNSUPPORTED_PROTOCOL = "UnsupportedProtocol"
    DESTINATION_IN_OTHER_NAMESPACE = "DestinationInOtherNamespace"
    NO_DESTINATION = "NoDestination"
    GRANTS_NOTHING = "GrantsNothing"
    FOREIGN_TRUST_DOMAIN = "ForeignTrustDomain"
    INVALID_IDENTITY = "InvalidIdentity"
    FOREIGN_NAMESPACE = "ForeignNamespace"
    INVALID_ANNOTATION = "InvalidAnnotation"
    UNKNOWN_ANNOTATION = "UnknownAnnotation"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One remark on one object; ``message`` is a sentence for its author."""

    kind: Kind
    namespace: str
    name: str
    reason: Reason
    message: str

    @classmethod
    def on(cls, kind: Kind, meta: Meta, reason: Reason, message: str) -> Finding:
        """A finding on the object that ``meta`` names."""
        return cls(kind=kind, namespace=meta.namespace, name=meta.name, reason=reason, message=message)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once, in a stable order."""
    return tuple(sorted(set(findings)))
