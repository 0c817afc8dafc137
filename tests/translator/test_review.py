"""Findings and warnings about annotations, where their author will look for them."""

from __future__ import annotations

from smi.decode import decode_text
from smi.sources.snapshot import FileState, Snapshot, advance, merge
from translator.review import annotation_warnings, review
from translator.world import World

MANIFESTS = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    retry.smi-mesh.io/limit: "3"
    retry.smi-mesh.io/limt: "3"
    timeout.smi-mesh.io/request: "10"
spec: {ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {retry.smi-mesh.io/limit: "3"}}
spec:
  template:
    metadata: {annotations: {balancer.smi-mesh.io/algorithm: ewma, smi-mesh.io/inject: enabled}}
    spec: {containers: [{name: a}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {breaker.smi-mesh.io/min-penalty: 1s}}
spec: {containers: [{name: a}]}
"""


def snapshot() -> Snapshot:
    decoded = decode_text(MANIFESTS, "m.yaml")
    assert decoded.problems == ()
    return merge([advance(FileState(file="m.yaml"), decoded)])


def test_warnings_stand_at_the_annotation() -> None:
    elsewhere = "it is read on Services only and does nothing here"
    where = "metadata.annotations"

    assert [(warning.line, warning.field, warning.message) for warning in annotation_warnings(snapshot())] == [
        (7, f"{where}[retry.smi-mesh.io/limt]", "there is no such annotation; did you mean retry.smi-mesh.io/limit?"),
        (
            8,
            f"{where}[timeout.smi-mesh.io/request]",
            "`10` is no duration such as 250ms, 1.5s or 2m; it does not count",
        ),
        (13, f"{where}[retry.smi-mesh.io/limit]", elsewhere),
        (16, f"spec.template.{where}[balancer.smi-mesh.io/algorithm]", elsewhere),
        (21, f"{where}[breaker.smi-mesh.io/min-penalty]", elsewhere),
    ]


def test_findings_on_services_are_among_those_of_the_world() -> None:
    found = review(World.of(snapshot().objects.values()))

    assert [(finding.kind, finding.name, finding.message.partition(": ")[0]) for finding in found] == [
        ("Service", "web", "timeout.smi-mesh.io/request"),
        ("Service", "web", "retry.smi-mesh.io/limt"),
    ]


MISTAKEN = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {smi-mesh.io/unmeshed: maybe, smi-mesh.io/policy-mode: audit}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {annotations: {smi-mesh.io/opaque-portz: "1", smi-mesh.io/opaque-ports: x, other.example/inject: maybe}}
    spec: {containers: [{name: a}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: s, annotations: {smi-mesh.io/whose: mine}}
spec: {service: web, backends: [{service: web, weight: 1}]}
"""


def test_annotations_of_pods_and_namespaces_that_mean_nothing() -> None:
    decoded = decode_text(MISTAKEN, "m.yaml")
    told = annotation_warnings(merge([advance(FileState(file="m.yaml"), decoded)]))
    assert [(warning.line, warning.field.partition("[")[2]) for warning in told] == [
        (3, "smi-mesh.io/unmeshed]"),
        (10, "smi-mesh.io/opaque-ports]"),
        (10, "smi-mesh.io/opaque-portz]"),
    ]
    assert told[0].message == "'maybe' is not one of deny, allow; it does not count"
    assert "is not known; known are" in told[2].message


def test_annotations_of_pods_where_nobody_reads_them() -> None:
    text = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    smi-mesh.io/policy-mode: audit
    local.smi-mesh.io/command: sleep 1
spec:
  template:
    metadata:
      annotations:
        smi-mesh.io/policy-mode: audit
        local.smi-mesh.io/comand: sleep 1
    spec: {containers: [{name: a}]}
---
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    smi-mesh.io/default-policy: allow
---
apiVersion: v1
kind: Namespace
metadata:
  name: web
  annotations:
    smi-mesh.io/default-policy: allow
"""
    decoded = decode_text(text, "m.yaml")
    warnings = annotation_warnings(merge([advance(FileState(file="m.yaml"), decoded)]))
    everywhere = "it is read on pods, pod templates and namespaces only and does nothing here"
    assert [(one.line, one.message) for one in warnings] == [
        (6, everywhere),
        (7, "it is read on pods and pod templates only and does nothing here"),
        (13, "is not known; known is local.smi-mesh.io/command; it does not count"),
        (21, everywhere),
    ]
