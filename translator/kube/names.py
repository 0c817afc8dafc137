"""What the mesh's own things are called on a cluster: users and manifests know these names."""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "smi-mesh"
CONTROLLER: Final = "smi-mesh-controller"
"""Deployment, Service, ServiceAccount, Lease and roles."""

PREFIX: Final = "smi-mesh.io/"
"""Of our annotations."""

AUDIENCE: Final = "identity.smi-mesh.io"
"""Of the tokens that sidecars prove themselves with."""

CA_SECRET: Final = "smi-mesh-identity"
WEBHOOK_SECRET: Final = "smi-mesh-webhook"
WEBHOOK_SERVICE: Final = "smi-mesh-webhook"
METRICS_SERVICE: Final = "smi-mesh-metrics"
INJECTOR: Final = "smi-mesh-injector"
VALIDATOR: Final = "smi-mesh-validator"
LINKERD_INJECTOR: Final = "linkerd-proxy-injector-webhook-config"
"""Not ours: Linkerd's MutatingWebhookConfiguration, as all its releases call it."""

LABELS: Final = {
    "app.kubernetes.io/name": "smi-mesh",
    "app.kubernetes.io/part-of": "smi-mesh",
    "app.kubernetes.io/component": "identity",
    "app.kubernetes.io/managed-by": CONTROLLER,
}
"""On what the controller makes."""
