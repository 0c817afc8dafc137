"""A shop to ask about: manifests as a user writes them, and the mesh that local mode would make of them."""

from __future__ import annotations

from smi.decode import decode_text
from translator.explain.answer import Explanation
from translator.explain.explain import explain
from translator.explain.mesh import Mesh, compiled
from translator.explain.question import asked
from translator.local.foreseen import foreseen
from translator.world import World

SHOP = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {retry.smi-mesh.io/on: "5xx,connect-failure", retry.smi-mesh.io/limit: "3"}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}, {port: 81, targetPort: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-v1, annotations: {balancer.smi-mesh.io/algorithm: "hash:x-user"}}
spec: {selector: {app: web, version: v1}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-v2, annotations: {breaker.smi-mesh.io/consecutive-failures: "5"}}
spec: {selector: {app: web, version: v2}, ports: [{port: 80, targetPort: 8080}, {port: 81, targetPort: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-v3}
spec: {selector: {app: web, version: v3}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: beta, creationTimestamp: "2024-01-01T00:00:00Z"}
spec:
  service: web
  matches: [{kind: HTTPRouteGroup, name: testers}]
  backends: [{service: web-v2, weight: 1}]
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: canary, creationTimestamp: "2024-01-02T00:00:00Z"}
spec:
  service: web
  backends:
    - {service: web-v1, weight: 90}
    - {service: web-v2, weight: 10}
    - {service: web-v3, weight: 5}
    - {service: web, weight: 0}
    - {service: gone, weight: 5}
    - {service: elsewhere, weight: 5}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: late, creationTimestamp: "2024-01-03T00:00:00Z"}
spec: {service: web, backends: [{service: web-v3, weight: 1}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: testers}
spec:
  matches:
    - {name: header, headers: {x-beta: "1"}}
    - {name: writes, methods: [POST], pathRegex: "/api/.*"}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: public}
spec: {matches: [{name: read, methods: [GET], pathRegex: "/api"}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: admin}
spec: {matches: {ports: [9090]}}
---
apiVersion: access.smi-spec.io/v1alpha4
kind: TrafficTarget
metadata: {name: clients-read}
spec:
  destination: {kind: ServiceAccount, name: web}
  sources: [{kind: ServiceAccount, name: client}]
  rules: [{kind: HTTPRouteGroup, name: public}]
---
apiVersion: access.smi-spec.io/v1alpha4
kind: TrafficTarget
metadata: {name: operators}
spec:
  destination: {kind: ServiceAccount, name: web}
  sources: [{kind: ServiceAccount, name: operator}]
  rules: [{kind: TCPRoute, name: admin}]
---
apiVersion: access.smi-spec.io/v1alpha4
kind: TrafficTarget
metadata: {name: nobody}
spec:
  destination: {kind: ServiceAccount, name: web}
  sources: [{kind: ServiceAccount, name: client}]
  rules: [{kind: HTTPRouteGroup, name: lost}]
"""


def workload(name: str, account: str, *, replicas: int = 1, inject: str = "enabled", **labels: str) -> str:
    """A Deployment with ports 8080 and 9090."""
    marks = ", ".join(f"{key}: {value}" for key, value in ({"app": name} | labels).items())
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{{marks}}}}}
  template:
    metadata: {{labels: {{{marks}}}, annotations: {{smi-mesh.io/inject: {inject}}}}}
    spec:
      serviceAccountName: {account}
      containers:
        - {{name: c, command: [serve], ports: [{{containerPort: 8080}}, {{containerPort: 9090, name: admin}}]}}
"""


WORKLOADS = (
    workload("v1", "web", replicas=2, app="web", version="v1")
    + workload("v2", "web", app="web", version="v2")
    + workload("client", "client")
    + workload("operator", "operator")
    + workload("plain", "client", inject="disabled")
)


def mesh_of(*texts: str) -> Mesh:
    """The mesh of these manifests; all pods are ready."""
    decoded = decode_text("".join(texts), "shop.yaml")
    assert decoded.problems == ()
    return compiled(World.of(decoded.objects, foreseen(decoded.objects)))


def told(mesh: Mesh, request: str, source: str = "deploy/client", *headers: str) -> Explanation:
    """The explanation of ``METHOD URL``."""
    method, url = request.split(" ", 1)
    return explain(mesh, asked(method, url, source, "default", headers=headers))
