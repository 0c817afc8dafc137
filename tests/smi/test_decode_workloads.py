"""Kubernetes' own kinds, as far as the mesh reads them."""

from dataclasses import replace
from textwrap import dedent

import pytest

from smi.decode import SmiObject, decode_text, kind_of
from smi.meta import Meta
from smi.workloads import (
    ConfigMap,
    Container,
    ContainerPort,
    EnvVar,
    Namespace,
    Probe,
    Service,
    ServiceAccount,
    ServicePort,
    Workload,
)


def only(text: str, file: str = "shop/m.yaml") -> SmiObject:
    decoded = decode_text(dedent(text), file)
    assert [str(problem) for problem in decoded.problems] == []
    (obj,) = decoded.objects
    return obj


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in decode_text(dedent(text), "m.yaml").problems]


def test_a_namespace_is_in_no_namespace() -> None:
    found = only(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {smi-mesh.io/inject: disabled}}}"
    )
    assert found == Namespace(meta=Meta(name="shop", namespace="", annotations={"smi-mesh.io/inject": "disabled"}))


def test_service_account_and_config_map() -> None:
    assert only("{apiVersion: v1, kind: ServiceAccount, metadata: {name: web}, secrets: []}") == ServiceAccount(
        meta=Meta(name="web")
    )
    found = only(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a.py: 'x', b: ''}, binaryData: {z: eA==}}"
    )
    assert found == ConfigMap(meta=Meta(name="c"), data={"a.py": "x", "b": ""})
    assert only("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}") == ConfigMap(meta=Meta(name="c"))


def test_a_service() -> None:
    found = only(
        """
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec:
          selector: {app: web}
          sessionAffinity: None
          clusterIPs: [10.0.0.1]
          ports:
            - {port: 80}
            - {port: 81, targetPort: 8081, name: admin}
            - {port: 82, targetPort: http, name: named, appProtocol: http}
            - {port: 83, targetPort: "8083", protocol: UDP}
        """
    )
    assert found == Service(
        meta=Meta(name="web"),
        selector={"app": "web"},
        ports=(
            ServicePort(port=80, target_port=80),
            ServicePort(port=81, target_port=8081, name="admin"),
            ServicePort(port=82, target_port="http", name="named", app_protocol="http"),
            ServicePort(port=83, target_port=8083, protocol="UDP"),
        ),
    )


def test_headless_and_external_services() -> None:
    headless = only("{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None}}")
    assert headless == Service(meta=Meta(name="db"), cluster_ip="None")
    external = only(
        "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {type: ExternalName, externalName: db.example}}"
    )
    assert external == Service(meta=Meta(name="db"), type="ExternalName", external_name="db.example")


def test_a_service_whose_pods_answer_before_they_are_ready() -> None:
    peers = only(
        "{apiVersion: v1, kind: Service, metadata: {name: peers},"
        " spec: {publishNotReadyAddresses: true, clusterIP: None}}"
    )
    assert peers == Service(meta=Meta(name="peers"), cluster_ip="None", publish_not_ready=True)


LABEL_RULE = "lower-case letters, digits and `-`, beginning and ending with a letter or digit"

DEPLOYMENT = """
apiVersion: {version}
kind: {kind}
metadata:
  name: web
  namespace: shop
  labels: {{team: a}}
spec:
  replicas: 3
  serviceName: web-headless
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{type: RollingUpdate}}
  template:
    metadata:
      labels: {{app: web}}
      annotations: {{local.smi-mesh.io/command: python3 app.py}}
      creationTimestamp: null
    spec:
      serviceAccountName: web
      terminationGracePeriodSeconds: 5
      initContainers: [{{name: init}}]
      containers:
        - name: app
          image: example/app:1
          imagePullPolicy: Always
          command: [python3, /app/server.py]
          args: ["--port", "$(PORT)"]
          workingDir: /app
          ports:
            - {{containerPort: 8080, name: http}}
            - {{containerPort: 53, protocol: UDP, hostPort: 53}}
          env:
            - {{name: PLAIN, value: "1"}}
            - {{name: EMPTY}}
            - {{name: POD, valueFrom: {{fieldRef: {{apiVersion: v1, fieldPath: metadata.name}}}}}}
            - {{name: CONF, valueFrom: {{configMapKeyRef: {{name: conf, key: level, optional: true}}}}}}
            - {{name: SECRET, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}}}
          envFrom:
            - configMapRef: {{name: all}}
            - secretRef: {{name: s}}
          resources: {{limits: {{cpu: 1}}}}
          livenessProbe: {{httpGet: {{path: /live, port: http}}}}
          readinessProbe:
            httpGet: {{path: /ready, port: http, httpHeaders: [{{name: X-Probe, value: "1"}}]}}
            initialDelaySeconds: 1
            periodSeconds: 2
            timeoutSeconds: 3
            failureThreshold: 4
            successThreshold: 5
          volumeMounts:
            - {{name: whole, mountPath: /app}}
            - {{name: whole, mountPath: /etc/one.conf, subPath: one.conf}}
            - {{name: items, mountPath: /items}}
            - {{name: items, mountPath: /etc/two, subPath: sub/two}}
            - {{name: scratch, mountPath: /tmp}}
      volumes:
        - {{name: whole, configMap: {{name: app-files, defaultMode: 420}}}}
        - {{name: items, configMap: {{name: more, items: [{{key: two, path: sub/two}}]}}}}
        - {{name: scratch, emptyDir: {{}}}}
"""
MEANT = Workload(
    kind="Deployment",
    meta=Meta(name="web", namespace="shop", labels={"team": "a"}),
    template=Meta(
        name="web",
        namespace="shop",
        labels={"app": "web"},
        annotations={"local.smi-mesh.io/command": "python3 app.py"},
    ),
    replicas=3,
    service_account="web",
    service_name="web-headless",
    folder="shop",
    containers=(
        Container(
            name="app",
            image="example/app:1",
            command=("python3", "/app/server.py"),
            args=("--port", "$(PORT)"),
            working_dir="/app",
            ports=(ContainerPort(port=8080, name="http"), ContainerPort(port=53, protocol="UDP")),
            env=(
                EnvVar(name="PLAIN", value="1"),
                EnvVar(name="EMPTY", value=""),
                EnvVar(name="POD", field_path="metadata.name"),
                EnvVar(name="CONF", config_map=("conf", "level"), optional=True),
            ),
            env_from=("all",),
            readiness=Probe(
                kind="httpGet",
                port="http",
                path="/ready",
                headers=(("X-Probe", "1"),),
                initial_delay=1.0,
                period=2.0,
                timeout=3.0,
                failure_threshold=4,
                success_threshold=5,
            ),
            config_mounts=(("/app", "app-files"),),
            config_files=(
                ("/etc/one.conf", "app-files", "one.conf"),
                ("/items/sub/two", "more", "two"),
                ("/etc/two", "more", "two"),
            ),
        ),
    ),
)


@pytest.mark.parametrize("version", ["apps/v1", "apps/v1beta1", "apps/v1beta2", "extensions/v1beta1"])
def test_a_deployment(version: str) -> None:
    found = only(DEPLOYMENT.format(version=version, kind="Deployment"))
    assert found == MEANT
    assert kind_of(found) == "Deployment"


@pytest.mark.parametrize("version", ["apps/v1", "apps/v1beta1", "apps/v1beta2"])
def test_a_stateful_set(version: str) -> None:
    found = only(DEPLOYMENT.format(version=version, kind="StatefulSet"))
    assert found == replace(MEANT, kind="StatefulSet")
    assert kind_of(found) == "StatefulSet"


def test_a_pod_is_a_workload_of_one() -> None:
    found = only(
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: client, labels: {app: client}, creationTimestamp: 2024-05-01T10:00:00Z}
        spec:
          serviceAccount: old-spelling
          containers: [{name: client, command: [sleep, infinity]}]
        """,
        "m.yaml",
    )
    assert isinstance(found, Workload)
    assert (found.kind, found.replicas, found.service_account, found.folder) == ("Pod", 1, "old-spelling", ".")
    assert found.template == Meta(name="client", labels={"app": "client"})
    assert found.containers == (Container(name="client", command=("sleep", "infinity")),)


@pytest.mark.parametrize(
    ("probe", "meant"),
    [
        ("tcpSocket: {port: 5432}", Probe(kind="tcpSocket", port=5432)),
        ("grpc: {port: 50051}", Probe(kind="tcpSocket", port=50051)),
        ("exec: {command: [cat, /tmp/ready]}", Probe(kind="exec", command=("cat", "/tmp/ready"))),
        ('httpGet: {port: "8080"}', Probe(kind="httpGet", port=8080)),
        ("httpGet: {port: 80, path: ''}, periodSeconds: 0", Probe(kind="httpGet", port=80)),
        ("periodSeconds: 1", None),
    ],
)
def test_probes(probe: str, meant: Probe | None) -> None:
    container = f"{{name: a, readinessProbe: {{{probe}}}}}"
    found = only(f"{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{containers: [{container}]}}}}")
    assert isinstance(found, Workload)
    assert found.containers[0].readiness == meant


def test_defaults_of_a_deployment() -> None:
    found = only(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, "
        "spec: {template: {spec: {containers: [{name: a}]}}}}"
    )
    assert isinstance(found, Workload)
    assert (found.replicas, found.service_account, found.template) == (1, "default", Meta(name="d"))


def test_faults() -> None:
    assert problems_of(
        """\
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          replicas: -1
          template:
            spec:
              container: []
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: client}
        spec:
          containers:
            - name: Web
              command: sleep
              env: [{name: A, value: 5}]
              ports: [{containerPort: 0}, {containerPort: "80"}]
              readinessProbe: {tcpSocket: {port: 70000}, failureThreshold: 0}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: a.b}
        spec:
          type: Loadbalancer
          ports: [{port: 80, targetPort: HTTP}]
        """
    ) == [
        "m.yaml:5: spec.replicas: must be at least 0, is `-1`",
        "m.yaml:8: spec.template.spec.container: unknown field, did you mean `containers`?",
        "m.yaml:8: spec.template.spec.containers: required",
        "m.yaml:15: spec.containers[0].name: `Web` is not a valid name: " + LABEL_RULE,
        "m.yaml:16: spec.containers[0].command: must be a list, not `sleep`",
        "m.yaml:17: spec.containers[0].env[0].value: must be text, not `5`, put it in quotes",
        "m.yaml:18: spec.containers[0].ports[0].containerPort: must be a port, 1 to 65535, is 0",
        "m.yaml:18: spec.containers[0].ports[1].containerPort: must be a number, not text `80`",
        "m.yaml:19: spec.containers[0].readinessProbe.failureThreshold: must be at least 1, is `0`",
        "m.yaml:19: spec.containers[0].readinessProbe.tcpSocket.port: must be a port, 1 to 65535, is 70000",
        "m.yaml:23: metadata.name: `a.b` is not a valid name: " + LABEL_RULE,
        "m.yaml:25: spec.type: `Loadbalancer` is not known here, did you mean `LoadBalancer`?",
        "m.yaml:26: spec.ports[0].targetPort: `HTTP` is not a valid name: " + LABEL_RULE,
    ]


def test_a_selector_of_other_pods_than_the_templates() -> None:
    """Kubernetes refuses it, too; one that asks for less than the labels that the pods have is right."""
    assert problems_of(
        """\
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          selector:
            matchLabels:
              tier: front
              app: wbe
          template:
            metadata: {labels: {app: web, tier: front, more: "1"}}
            spec: {containers: [{name: a}]}
        """
    ) == ["m.yaml:8: spec.selector.matchLabels.app: `wbe` is not what the template's pods have"]
